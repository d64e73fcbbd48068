"""What strangers may try: the right status, a living server, bounded memory, nothing said of its insides."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import numpy as np
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from sparktts.audio.write import encode_audio

from .process import Server

SPEECH = b"POST /v1/audio/speech HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
FORM = b"POST /v1/audio/voices HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data\r\n"


@pytest.fixture(scope="module")
def guarded(served: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that others may reach, with keys."""
    keys = tmp_path_factory.mktemp("keys") / "keys.txt"
    keys.write_text("first-key\nsecond-key\n")
    server = Server.start(
        served, tmp_path_factory.mktemp("kept"), "--host", "0.0.0.0", "--api-key-file", str(keys), "--deadline", "30"
    )
    server.url = server.url.replace("0.0.0.0", "127.0.0.1")
    yield server
    server.process.kill()


def memory(server: Server) -> float:
    """MB of the server's process."""
    pages = int(Path(f"/proc/{server.process.pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def raw(server: Server, data: bytes, seconds: float = 10) -> bytes:
    """What the server answers to bytes on a socket."""
    parts = urlsplit(server.url)
    with socket.create_connection((parts.hostname, parts.port), timeout=seconds) as connection:
        connection.sendall(data)
        with contextlib.suppress(TimeoutError, ConnectionResetError):
            return connection.recv(65536)
    return b""


@pytest.mark.parametrize(
    ("data", "statuses"),
    [
        (b"GARBAGE\r\n\r\n", (400,)),
        (b"GET / HTTP/9.9\r\nHost: x\r\n\r\n", (400, 404, 505)),
        (b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", (400, 404, 414)),
        (b"GET / HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 30_000 + b"\r\n", (400, 431)),
        (SPEECH + b"Content-Length: 10000000000\r\n\r\n{}", (413,)),
        (SPEECH + b"Content-Length: -5\r\n\r\n", (400,)),
        (SPEECH + b"Content-Length: 2\r\nContent-Length: 9\r\n\r\n{}", (400,)),
        (SPEECH + b"Content-Length: abc\r\n\r\n{}", (400,)),
        (SPEECH + b"Transfer-Encoding: chunked\r\n\r\nZZ\r\n", (400,)),
        (SPEECH + b"Content-Length: 3\r\n\r\n{]}", (400,)),
        (SPEECH + b"Content-Length: 4\r\n\r\nnull", (400,)),
        (SPEECH + b"Content-Length: 2\r\n\r\n[]", (400,)),
        (SPEECH + b"Content-Length: 4\r\n\r\n\xff\xfe\x00\x01", (400,)),
        (FORM + b"Content-Length: 2\r\n\r\nab", (400,)),
        (b"TRACE /v1/audio/speech HTTP/1.1\r\nHost: x\r\n\r\n", (405,)),
        (b"GET /v1/audio/../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n", (404,)),
        (b"GET /%2e%2e/%2e%2e/etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n", (404,)),
        (b"DELETE /v1/audio/voices/..%2f..%2fconfig HTTP/1.1\r\nHost: x\r\n\r\n", (404, 405)),
        (b"GET /v1/models/%00 HTTP/1.1\r\nHost: x\r\n\r\n", (404,)),
        (b"GET /v1/audio/speech/stream HTTP/1.1\r\nHost: x\r\n\r\n", (404, 405, 426)),
    ],
)  # fmt: skip
def test_malformed_requests_get_a_client_error(server: Server, data: bytes, statuses: tuple[int, ...]) -> None:
    answer = raw(server, data)
    assert answer.startswith(b"HTTP/1.1 "), answer
    assert int(answer[9:12]) in statuses
    assert b"Traceback" not in answer
    assert server.alive


@pytest.mark.parametrize(
    "body",
    [
        '{"model": "tts-1", "input": ' + "[" * 50_000,
        '{"model": "tts-1", "input": "a", "seed": 1e400}',
        '{"model": "tts-1", "input": "a", "speed": NaN}',
        '{"model": "tts-1", "input": "a", "pitch": -1e308, "gender": "male"}',
        '{"model": "tts-1", "input": "\\ud800"}',
        '{"model": "tts-1", "input": "\\u0000\\u0001"}',
        '{"model": "tts-1", "input": "a", "voice": {"id": {}}}',
        '{"model": "tts-1", "input": "a", "voice": "a\\u0000b"}',
        json.dumps({"model": "m" * 100_000, "input": "a"}),
    ],
)
def test_strange_json_is_refused(server: Server, body: str) -> None:
    headers = {"content-type": "application/json"}
    answer = httpx.post(f"{server.url}/v1/audio/speech", content=body.encode(), headers=headers, timeout=60)
    assert 400 <= answer.status_code < 500, answer.text
    assert answer.json()["error"]["message"]
    assert len(answer.text) < 2000
    assert server.alive


def test_a_huge_text_is_refused_without_being_kept(server: Server) -> None:
    before = memory(server)
    answer = httpx.post(f"{server.url}/v1/audio/speech", content=b'{"input": "' + b"x" * 100_000_000, timeout=60)
    assert answer.status_code == 413

    def endless() -> Iterator[bytes]:
        for _ in range(100):
            yield b"x" * 1_000_000

    with contextlib.suppress(httpx.TransportError):  # it may hang up before all is sent
        answer = httpx.post(f"{server.url}/v1/audio/speech", content=endless(), timeout=60)
        assert answer.status_code == 413
    assert memory(server) - before < 150
    assert server.alive


def test_audio_that_unpacks_to_hours_is_cut_off_early(server: Server) -> None:
    silence = encode_audio(np.zeros(16000 * 60 * 30, np.float32), 16000, "flac")
    sizes = {"bomb": silence, "long": silence}
    before, began = memory(server), time.monotonic()
    for data in sizes.values():
        body = {"model": "tts-1", "input": "Hi.", "reference_audio": base64.b64encode(data).decode()}
        answer = httpx.post(f"{server.url}/v1/audio/speech", json=body, timeout=60)
        assert answer.status_code == 400
        assert "silent" in answer.json()["error"]["message"]
    assert time.monotonic() - began < 40
    assert memory(server) - before < 150


@pytest.mark.parametrize(
    "data",
    [
        b"RIFF\xff\xff\xff\xffWAVEfmt ",
        b"\x00" * 1000,
        b"OggS" + b"\xff" * 500,
        b"fLaC" + bytes(range(256)) * 4,
        b"PK\x03\x04" + b"\x00" * 100,
        b"<svg onload=alert(1)>",
        b"#EXTM3U\nfile:///etc/passwd\n",
        b"ffconcat version 1.0\nfile /etc/passwd\n",
    ],
)
def test_what_is_no_audio_is_refused(server: Server, data: bytes) -> None:
    body = {"model": "tts-1", "input": "Hi.", "reference_audio": base64.b64encode(data).decode()}
    answer = httpx.post(f"{server.url}/v1/audio/speech", json=body, timeout=60)
    assert answer.status_code == 400, answer.text
    assert "root:" not in answer.text


def test_the_process_that_decodes_may_be_killed(server: Server, clip_24k: Path) -> None:
    noise = encode_audio(np.random.default_rng(0).normal(0, 0.1, 16000 * 50).astype(np.float32), 16000, "wav")
    body = {"model": "tts-1", "input": "Hi.", "checks": False}
    answers: list[httpx.Response] = []

    def ask(clip: bytes) -> None:
        sent = {**body, "reference_audio": base64.b64encode(clip).decode()}
        answers.append(httpx.post(f"{server.url}/v1/audio/speech", json=sent, timeout=60))

    thread = threading.Thread(target=ask, args=(noise,))
    thread.start()
    for _ in range(400):
        listed = subprocess.run(["ps", "-eo", "pid,args"], capture_output=True, text=True, check=True).stdout
        workers = [int(line.split()[0]) for line in listed.splitlines() if "sparktts.server.worker" in line]
        if workers:
            os.kill(workers[0], signal.SIGKILL)
            break
        time.sleep(0.005)
    thread.join(60)
    assert answers[0].status_code == 400
    assert "could not be decoded" in answers[0].json()["error"]["message"]
    ask(clip_24k.read_bytes())
    assert answers[1].status_code == 200


def test_slow_clients_do_not_hold_the_server_up(server: Server) -> None:
    parts = urlsplit(server.url)
    slow = [socket.create_connection((parts.hostname, parts.port)) for _ in range(50)]
    for number, connection in enumerate(slow):
        connection.sendall(
            b"POST /v1/audio/speech HTTP/1.1\r\nHo" if number % 2 else SPEECH + b"Content-Length: 50\r\n\r\n{"
        )
    assert server.alive
    body = {"model": "tts-1", "input": "Hi.", "checks": False}
    assert httpx.post(f"{server.url}/v1/audio/speech", json=body, timeout=60).status_code == 200
    heard = []
    for connection in slow:
        connection.settimeout(40)
        with contextlib.suppress(ConnectionResetError):
            heard.append(connection.recv(4096)[9:12])
        connection.close()
    assert set(heard) <= {b"", b"408"}  # nobody is left waiting
    assert b"408" in heard


def test_keys_are_needed_for_all_but_the_pulse(guarded: Server) -> None:
    body = {"model": "tts-1", "input": "Hi.", "checks": False}
    for headers in (
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": "Basic Zmlyc3Qta2V5"},
        {"Authorization": "Bearer"},
    ):
        for method, path in (("GET", "/v1/models"), ("GET", "/metrics"), ("GET", "/v1/audio/voices")):
            answer = httpx.request(method, guarded.url + path, headers=headers)
            assert (answer.status_code, answer.json()["error"]["code"]) == (401, "invalid_api_key")
        assert httpx.post(f"{guarded.url}/v1/audio/speech", json=body, headers=headers).status_code == 401
    for key in ("first-key", "second-key"):
        right = {"Authorization": f"Bearer {key}"}
        assert httpx.get(f"{guarded.url}/v1/models", headers=right).status_code == 200
        assert httpx.post(f"{guarded.url}/v1/audio/speech", json=body, headers=right, timeout=60).status_code == 200
    assert httpx.get(f"{guarded.url}/healthz").status_code == 200
    address = f"{guarded.url.replace('http', 'ws')}/v1/audio/speech/stream"
    with pytest.raises(InvalidStatus), connect(address):
        pass
    with connect(address, additional_headers={"Authorization": "Bearer first-key"}) as connection:
        connection.send('{"type": "ping"}')
        assert json.loads(connection.recv(timeout=10)) == {"type": "pong"}


def test_pages_of_other_origins_are_not_let_in(server: Server) -> None:
    answer = httpx.options(
        f"{server.url}/v1/audio/speech",
        headers={"Origin": "https://example.org", "Access-Control-Request-Method": "POST"},
    )
    assert "access-control-allow-origin" not in answer.headers


def test_stopping_finishes_what_was_begun(served: Path, tmp_path: Path) -> None:
    server = Server.start(served, tmp_path)
    body = {"model": "tts-1", "input": "One. " * 12, "checks": False, "response_format": "wav", "seed": 1}
    with httpx.stream("POST", f"{server.url}/v1/audio/speech", json=body, timeout=60) as response:
        pieces = response.iter_bytes()
        data = next(pieces)
        server.process.send_signal(signal.SIGTERM)
        data += b"".join(pieces)
    assert io.BytesIO(data).read(4) == b"RIFF"
    assert server.process.wait(30) in (0, -signal.SIGTERM)
    assert "Traceback" not in "".join(server.log)
