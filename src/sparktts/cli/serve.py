"""sparktts serve: the HTTP server."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

from ..errors import OptionError
from . import options
from .console import note
from .speaking import ModelOptions
from .texts import lines_of

KEYS_VARIABLE = "SPARKTTS_API_KEYS"
_ACCESS, _LIMITS = "Who may use it", "How much"


def serve(
    model: options.Model = None,
    engine: options.Engine = "auto",
    device: options.Device = "auto",
    dtype: options.Dtype = "auto",
    host: Annotated[
        str, options.option(_ACCESS, "--host", "ADDRESS", "Where to listen; others need a key.")
    ] = "127.0.0.1",
    port: Annotated[int, options.option(_ACCESS, "--port", "N", "0: any free one.")] = 8000,
    api_key: Annotated[
        list[str] | None,
        options.option(
            _ACCESS,
            "--api-key",
            "KEY",
            "May be given several times; also SPARKTTS_API_KEYS, separated by commas. Default: none.",
        ),
    ] = None,
    api_key_file: Annotated[
        Path | None, options.option(_ACCESS, "--api-key-file", "FILE", "A key in each line. Default: none.")
    ] = None,
    insecure: Annotated[
        bool, options.option(_ACCESS, "--insecure", None, "Let others in without a key. Default: refuse.")
    ] = False,
    cors: Annotated[
        list[str] | None,
        options.option(_ACCESS, "--cors", "ORIGIN", "Pages that may use the server from a browser. Default: none."),
    ] = None,
    concurrency: Annotated[int, options.option(_LIMITS, "--concurrency", "N", "Requests that are spoken at once.")] = 8,
    queue: Annotated[int, options.option(_LIMITS, "--queue", "N", "Requests that may wait; more are refused.")] = 32,
    deadline: Annotated[float, options.option(_LIMITS, "--deadline", "S", "Seconds for a whole request.")] = 600.0,
    max_text: Annotated[int, options.option(_LIMITS, "--max-text", "N", "Characters of a text.")] = 50_000,
    page: Annotated[
        bool,
        options.option(
            None, "--page/--no-page", None, "The web page at /. Default: if gradio is installed.", show_default=False
        ),
    ] = True,
    log_texts: Annotated[
        bool, options.option(None, "--log-texts", None, "Also log what is said. Default: neither text nor sound.")
    ] = False,
) -> None:
    """Serve speech over HTTP: OpenAI's interface at /v1, its documentation at /docs.

    sparktts serve --model Spark-TTS-0.5B

    curl localhost:8000/v1/audio/speech -d '{"model": "tts-1", "input": "Hello."}' -o hello.mp3
    """
    try:
        from ..server.app import create_app
        from ..server.run import run
        from ..server.security import hashed, is_key
        from ..server.settings import ServerSettings, check_exposure
    except ImportError as error:
        raise OptionError(f'The server needs {error.name}: pip install "sparktts[server]".') from None
    keys = tuple(hashed(key) for key in _keys(api_key or [], api_key_file))
    settings = ServerSettings(
        keys=keys,
        concurrency=concurrency,
        queue=queue,
        deadline=deadline,
        max_text=max_text,
        cors=tuple(cors or ()),
        log_texts=log_texts,
    )
    check_exposure(host, settings, insecure)
    tts = ModelOptions(model, engine, device, dtype, concurrency).load()
    app = create_app(tts, settings)
    if page and find_spec("gradio") is not None:
        from ..ui.page import mount

        mount(app, tts, (lambda password: is_key(password, settings)) if keys else None)
    run(app, host, port, settings, note)


def ui(
    model: options.Model = None,
    engine: options.Engine = "auto",
    device: options.Device = "auto",
    dtype: options.Dtype = "auto",
    port: Annotated[int, options.option(_ACCESS, "--port", "N", "0: any free one.")] = 7860,
) -> None:
    """Open the web page for this machine: clone, create, read, voices.

    sparktts ui --model Spark-TTS-0.5B
    """
    if find_spec("gradio") is None:
        raise OptionError('The page needs gradio: pip install "sparktts[server,ui]".')
    serve(model, engine, device, dtype, port=port, api_key=None, concurrency=4)


def _keys(given: list[str], file: Path | None) -> list[str]:
    """Keys from the options, a file and the environment. Raises OptionError, TextError."""
    keys = [key.strip() for key in (*given, *os.environ.get(KEYS_VARIABLE, "").split(",")) if key.strip()]
    keys += [] if file is None else lines_of(file)
    if file is not None and not keys:
        raise OptionError(f"There is no key in {file}: write one in each line.")
    return keys
