"""Finding and downloading models. The hub is a small server on this machine that speaks its protocol."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from sparktts.checkpoint.download import OFFICIAL_REPO, download, models_directory, resolve
from sparktts.checkpoint.layout import Checkpoint
from sparktts.errors import CheckpointError, OptionError

COMMIT = "0" * 40


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    directory = tmp_path / "models"
    directory.mkdir()
    monkeypatch.setenv("SPARKTTS_MODELS", str(directory))
    monkeypatch.chdir(tmp_path)
    return directory


def test_the_models_directory_can_be_chosen(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert models_directory() == models
    monkeypatch.delenv("SPARKTTS_MODELS")
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    assert models_directory() == Path.home() / ".local/share/sparktts/models"


def test_a_model_is_found_by_path_by_name_and_by_repository(models: Path, mini: Path) -> None:
    (models / "Spark-TTS-0.5B").mkdir()
    assert resolve(mini) == mini
    assert resolve("Spark-TTS-0.5B") == models / "Spark-TTS-0.5B"
    assert resolve(OFFICIAL_REPO) == models / "Spark-TTS-0.5B"


def test_another_owner_s_model_of_the_same_name_is_not_taken(models: Path) -> None:
    (models / "Spark-TTS-0.5B").mkdir()
    (models / "Spark-TTS-0.5B" / ".sparktts-repository").write_text(OFFICIAL_REPO)
    assert resolve(OFFICIAL_REPO) == models / "Spark-TTS-0.5B"
    with pytest.raises(CheckpointError, match=r"download somebody/Spark-TTS-0\.5B"):
        resolve("somebody/Spark-TTS-0.5B")
    with pytest.raises(OptionError, match="another directory"):
        download("somebody/Spark-TTS-0.5B", accept_license=True)


@pytest.mark.parametrize("name", ["nothing", "owner/nothing", "", " ", "../nothing", "a\0b", "x" * 5000])
def test_an_unknown_model_says_how_to_get_one(name: str, models: Path) -> None:
    with pytest.raises(CheckpointError, match="download"):
        resolve(name)


@pytest.mark.parametrize("source", ["huggingface", "modelscope"])
def test_nothing_is_fetched_before_the_licence_is_accepted(source: str, models: Path) -> None:
    with pytest.raises(OptionError, match=r"CC BY-NC-SA 4\.0.*--accept-license"):
        download(source=source)
    assert list(models.iterdir()) == []


def test_bad_options_are_refused(models: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="huggingface or modelscope"):
        download(source="elsewhere", accept_license=True)
    with pytest.raises(OptionError, match="owner/name"):
        download("../../etc", accept_license=True)
    (tmp_path / "file").write_text("x")
    with pytest.raises(OptionError, match="is a file"):
        download(accept_license=True, target=tmp_path / "file")


def test_modelscope_without_its_package_says_how_to_install_it(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "modelscope", None)
    with pytest.raises(CheckpointError, match="pip install modelscope"):
        download(source="modelscope", accept_license=True)


class Hub:
    """Serves one directory as the repository `owner/mini`."""

    def __init__(self, root: Path) -> None:
        self.files = {str(p.relative_to(root)): p for p in sorted(root.rglob("*")) if p.is_file()}
        self.requested: list[str] = []
        self.broken = False
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                hub.answer(self, body=True)

            def do_HEAD(self) -> None:
                hub.answer(self, body=False)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def answer(self, request: BaseHTTPRequestHandler, body: bool) -> None:
        path = request.path.split("?")[0]
        if path.startswith("/api/models/owner/mini"):
            listing = [{"rfilename": name} for name in [*self.files, "other/huge.onnx"]]
            info = {"id": "owner/mini", "sha": COMMIT, "siblings": listing, "private": False}
            tree = [
                {"type": "file", "path": name, "size": file.stat().st_size, "oid": "1" * 40}
                for name, file in self.files.items()
            ]
            self.send(request, 200, json.dumps(tree if "/tree/" in path else info).encode(), body)
            return
        name = path.removeprefix(f"/owner/mini/resolve/{COMMIT}/")
        if name not in self.files:
            headers = {"X-Error-Code": "RepoNotFound"} if "/nobody/" in path else {}
            self.send(request, 404, b"{}", body, headers)
            return
        data = self.files[name].read_bytes()
        headers = {"ETag": f'"{hashlib.sha1(data).hexdigest()}"', "X-Repo-Commit": COMMIT}
        if body:
            self.requested.append(name)
            if self.broken and name.endswith(".safetensors"):
                self.send(request, 403, b"{}", body)
                return
        self.send(request, 200, data, body, headers)

    def send(
        self,
        request: BaseHTTPRequestHandler,
        status: int,
        data: bytes,
        body: bool,
        headers: dict[str, str] | None = None,
    ) -> None:
        request.send_response(status)
        for key, value in {
            "Content-Length": str(len(data)),
            "Accept-Ranges": "bytes",
            **(headers or {}),
        }.items():
            request.send_header(key, value)
        request.end_headers()
        if body:
            request.wfile.write(data)


@pytest.fixture
def hub(mini: Path) -> Iterator[Hub]:
    hub = Hub(mini)
    yield hub
    hub.server.shutdown()
    hub.server.server_close()


def run_download(endpoint: str, models: Path, repo: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """In a process of its own, as the hub's client reads its address once, at import."""
    code = (
        "import sys\n"
        "from sparktts.checkpoint.download import download\n"
        "from sparktts.errors import SparkTTSError\n"
        f"try: print(download({repo!r}, accept_license=True))\n"
        "except SparkTTSError as error: print(error, file=sys.stdout); sys.exit(2)"
    )
    settings = {
        "HF_ENDPOINT": endpoint,
        "HF_HOME": str(models.parent / "hf"),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_ETAG_TIMEOUT": "2",
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
        "SPARKTTS_MODELS": str(models),
        "PYTHONPATH": os.pathsep.join(sys.path),
        **environment,
    }
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_a_download_is_complete_resumes_and_shows_no_bars_in_a_pipe(hub: Hub, models: Path, mini: Path) -> None:
    hub.broken = True
    first = run_download(hub.url, models, "owner/mini")
    assert first.returncode == 2, first.stderr
    assert "same command again" in first.stdout
    done = set(hub.requested)
    hub.broken = False
    hub.requested.clear()
    second = run_download(hub.url, models, "owner/mini")
    assert second.returncode == 0, second.stdout + second.stderr
    assert second.stdout.strip() == str(models / "mini")
    assert "%" not in second.stderr
    assert "BiCodec/model.safetensors" in hub.requested
    assert done, "the broken hub did serve some files"
    assert not {name for name in done if not name.endswith(".safetensors")} & set(hub.requested)
    target = models / "mini"
    assert (target / "LLM/model.safetensors").read_bytes() == (mini / "LLM/model.safetensors").read_bytes()
    assert not (target / "other").exists()
    Checkpoint.open(target)
    assert resolve("owner/mini") == target


def test_an_unknown_repository_is_one_sentence(hub: Hub, models: Path) -> None:
    result = run_download(hub.url, models, "nobody/nothing")
    assert result.returncode == 2, result.stderr
    assert not (models / "nothing").exists()
    assert "There is no repository nobody/nothing" in result.stdout
    assert len(result.stdout.splitlines()) == 1


@pytest.mark.parametrize("environment", [{}, {"HF_HUB_OFFLINE": "1"}])
def test_offline_is_one_sentence_with_what_to_do(environment: dict[str, str], models: Path) -> None:
    result = run_download("http://127.0.0.1:9", models, "owner/mini", **environment)
    assert result.returncode == 2, result.stderr
    assert "same command again" in result.stdout
    assert not (models / "mini").exists()
    assert len(result.stdout.splitlines()) == 1
