"""sparktts model: look at models, check, download, export and convert them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import CheckpointError, OptionError
from . import options
from .console import note, progress_bar, result, result_json, shown

app = typer.Typer(help="Models: look at them, check, download, export and convert them.")

OFFICIAL_REPO = "SparkAudio/Spark-TTS-0.5B"


@app.command()
def info(directory: options.ModelDirectory = None, json: options.Json = False) -> None:
    """Show what a model is: sizes, rates, licence.

    sparktts model info pretrained_models/Spark-TTS-0.5B
    """
    from ..checkpoint.layout import Checkpoint

    known = Checkpoint.open(_resolved(directory)).describe()
    if json:
        result_json(known, indent=2)
        return
    for key, value in known.items():
        result(f"{key.replace('_', ' '):18} {_told(value)}")


@app.command()
def check(directory: options.ModelDirectory = None, json: options.Json = False) -> None:
    """Read every weight of a model and list all that is wrong with it."""
    from ..checkpoint.layout import check as check_checkpoint
    from ..tokenizer import SparkTokenizer

    path = _resolved(directory)
    report = check_checkpoint(path)
    problems = list(report.problems)
    if not problems:
        try:
            SparkTokenizer.from_file(path / "LLM" / "tokenizer.json")
        except CheckpointError as error:
            problems.append(str(error))
    if json:
        parts = [vars(part) for part in report.parts]
        result_json({"path": shown(path), "ok": not problems, "problems": problems, "parts": parts}, indent=2)
    else:
        for part in report.parts:
            held = f"{part.tensors} tensors, {part.values / 1e6:.1f} M values, " if part.tensors else ""
            result(f"{part.name:20} {held}{part.bytes / 1e6:.1f} MB, {', '.join(part.dtypes)}")
        for problem in problems[1:]:
            result(f"Problem: {problem}")
    if problems:
        raise CheckpointError(problems[0])
    if not json:
        result("The model is sound.")


@app.command()
def download(
    repo: Annotated[str, typer.Argument(metavar="[REPO]", help="Repository of the model.")] = OFFICIAL_REPO,
    source: Annotated[
        str, options.option(None, "--source", "NAME", "Where from: huggingface or modelscope.")
    ] = "huggingface",
    accept_license: Annotated[
        bool,
        options.option(
            None,
            "--accept-license",
            None,
            "You accept the licence of the weights; that of the official ones is CC BY-NC-SA 4.0: no "
            "commercial use. Default: the licence is named and nothing is downloaded.",
        ),
    ] = False,
    output: options.DownloadOutput = None,
) -> None:
    """Download a model (the official one: about 4 GB); an interrupted download goes on where it stopped.

    sparktts model download --accept-license
    """
    from ..checkpoint.download import download as download_checkpoint

    path = download_checkpoint(repo, source, accept_license, output)
    result(shown(path))
    note(f'Use it by: sparktts say "Hello." --model {shown(path)}')


@app.command()
def convert(
    directory: Annotated[str, options.argument("DIR", "Model directory, or name of a downloaded one.")],
    output: options.DirectoryOutput,
    dtype: Annotated[
        str,
        options.option(None, "--dtype", "NAME", "Precision of the language model: keep, fp32 or bf16 (half the size)."),
    ] = "keep",
) -> None:
    """Write a model again, all weights as safetensors; an exported one becomes a plain one again.

    sparktts model convert Spark-TTS-0.5B -o Spark-TTS-bf16 --dtype bf16
    """
    from ..checkpoint.convert import convert_checkpoint
    from ..checkpoint.exported import Exported

    path = _resolved(directory)
    if Exported.is_at(path):
        try:
            from ..export.restore import restore
        except ModuleNotFoundError as error:
            raise OptionError(
                f'Converting an exported model needs {error.name}: pip install "sparktts[export]".'
            ) from None
        written = restore(path, output, dtype)
    else:
        written = convert_checkpoint(path, output, dtype)
    note(f"Wrote {shown(written)}.")


@app.command()
def export(
    directory: Annotated[str, options.argument("DIR", "Model directory, or name of a downloaded one.")],
    output: options.DirectoryOutput,
    weights: Annotated[
        str,
        options.option(
            None, "--weights", "NAME", "How large matrices are stored: int4 (fastest, smallest), int8 or fp32 (exact)."
        ),
    ] = "int4",
    codec_weights: Annotated[
        str | None,
        options.option(
            None,
            "--codec-weights",
            "NAME",
            "How the codec is stored: fp32, fp16 or int8 (smallest; changes some tokens). Default: fp16, or fp32 with "
            "--weights fp32.",
        ),
    ] = None,
    full_head: Annotated[
        bool,
        options.option(
            None,
            "--full-head",
            None,
            "Also export the scores of all ids, which only LanguageModel.logits needs. Default: those speech needs.",
        ),
    ] = False,
    json: options.Json = False,
) -> None:
    """Write a model for the onnx engine: fast on processors, small, speaks without PyTorch.

    Each part is compared with the PyTorch engine as it is written.

    sparktts model export Spark-TTS-0.5B -o Spark-TTS-onnx
    """
    from dataclasses import asdict

    from ..export import export as export_checkpoint

    with progress_bar(json) as bar:
        report = export_checkpoint(
            _resolved(directory),
            output,
            weights,
            full_head,
            lambda what: bar.phase(f"Exporting: {what}"),
            codec_weights,
        )
    if json:
        parts = [asdict(part) for part in report.parts]
        result_json({"path": shown(report.path), "weights": weights, "bytes": report.bytes, "parts": parts}, indent=2)
        return
    for part in report.parts:
        if part.compared:
            result(part.sentence())
        for line in part.notes:
            result(f"  {line}")
    note(f"Wrote {shown(report.path)}, {report.bytes / 1e6:.0f} MB of graphs.")
    note(f'Use it by: sparktts say "Hello." --model {shown(report.path)}')


def _resolved(directory: str | None) -> Path:
    from ..bundled import default_model
    from ..checkpoint.download import resolve

    return resolve(directory or default_model())


def _told(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_told(part)}" for key, part in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value))
    if value is None or isinstance(value, bool):
        return {True: "yes", False: "no", None: "unknown"}[value]
    if isinstance(value, int) and value > 99_999:
        return f"{value:,}"
    return f"{value:g}" if isinstance(value, float) else str(value)
