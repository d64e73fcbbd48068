"""A real server process, for tests and for benchmarks/serving.py."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Server:
    """A running `sparktts serve`. log: lines of its stderr."""

    process: subprocess.Popen[str]
    url: str
    voices: Path
    log: list[str] = field(default_factory=list)

    @classmethod
    def start(
        cls,
        model: Path | str,
        voices: Path,
        *arguments: str,
        program: str = "sparktts",
        command: str = "serve",
        one_thread: bool = True,
    ) -> Server:
        environment = {**os.environ, "SPARKTTS_VOICES": str(voices)}
        if one_thread:
            environment |= {"OMP_NUM_THREADS": "1", "SPARKTTS_THREADS": "1"}
        if (program, command) == ("sparktts", "serve"):
            arguments = (*arguments, "--no-page")  # which has tests of its own
        process = subprocess.Popen(
            [sys.executable, "-m", program, command, "--model", str(model), "--port", "0", *arguments],
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
            env=environment,
        )
        assert process.stderr is not None
        lines = []
        for line in process.stderr:
            lines.append(line)
            if found := re.search(r"http://\S+", line):
                break
        else:
            raise AssertionError("".join(lines))
        server = cls(process, found[0], voices, lines)
        threading.Thread(target=lambda: server.log.extend(process.stderr or ()), daemon=True).start()
        server.wait_until_ready()
        return server

    def wait_until_ready(self) -> None:
        import httpx

        for _ in range(200):
            try:
                if httpx.get(f"{self.url}/readyz", timeout=5).status_code == 200:
                    return
            except httpx.TransportError:
                pass
            threading.Event().wait(0.1)
        raise AssertionError("".join(self.log))

    def stop(self, how: signal.Signals = signal.SIGINT, seconds: float = 20) -> int:
        self.process.send_signal(how)
        return self.process.wait(seconds)

    @property
    def alive(self) -> bool:
        import httpx

        return self.process.poll() is None and httpx.get(f"{self.url}/healthz", timeout=10).status_code == 200
