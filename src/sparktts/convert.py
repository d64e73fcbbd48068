"""The published converter: `python -m sparktts.convert --pt_filename X.bin --sf_filename X.safetensors`."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from .cli.published import Parser
from .cli.run import guarded
from .cli.targets import check_file
from .errors import CheckpointError, OptionError


def main(argv: Sequence[str] | None = None) -> int:
    """Writes the tensors of a torch file as safetensors, equal values, and returns the exit code."""
    return guarded(lambda: _convert(_parser().parse_args(argv)))


def _parser() -> Parser:
    parser = Parser(
        prog="python -m sparktts.convert",
        description="Write a .bin file as .safetensors. `sparktts model convert` does whole models.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add(
        "--pt_filename",
        required=True,
        help="torch file to read, such as pytorch_model.bin; nothing in it runs",
    )
    add("--sf_filename", required=True, help="safetensors file to write")
    add("--config_path", help="the model's config.json; only checked (none)")
    return parser


def _convert(arguments: Namespace) -> None:
    from .checkpoint.convert import convert_bin_to_safetensors

    target = Path(arguments.sf_filename)
    check_file(target, OptionError)
    if arguments.config_path is not None:
        _check_config(Path(arguments.config_path))
    convert_bin_to_safetensors(Path(arguments.pt_filename), target)
    print(target)


def _check_config(path: Path) -> None:
    """Raises CheckpointError when the configuration is missing or no JSON object."""
    try:
        valid = isinstance(json.loads(path.read_text(encoding="utf-8")), dict)
    except OSError as error:
        raise CheckpointError(f"The configuration {path} cannot be read: {error.strerror}.") from None
    except (ValueError, RecursionError):
        valid = False
    if not valid:
        raise CheckpointError(f"The configuration {path} is not a JSON object: give the model's config.json.")


if __name__ == "__main__":
    sys.exit(main())
