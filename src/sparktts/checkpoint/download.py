"""Getting a checkpoint from a hub, and finding those that are already here."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import Any

from .. import bundled
from ..errors import CheckpointError, OptionError
from .layout import OFFICIAL_LICENCE, OFFICIAL_NAME, Checkpoint, checkpoint_directory, is_repository_name

OFFICIAL_REPO = f"SparkAudio/{OFFICIAL_NAME}"
ORIGIN_FILE = ".sparktts-repository"
SOURCES = ("huggingface", "modelscope")
_OUR_MISTAKES = (NameError, AttributeError, TypeError, ImportError)
FILES = ("config.yaml", "README*", "LICENSE*", "NOTICE*", "BiCodec/*", "LLM/*", "wav2vec2-large-xlsr-53/*")


def models_directory() -> Path:
    """Where downloaded models live: SPARKTTS_MODELS, or sparktts/models in the user's data directory."""
    if chosen := os.environ.get("SPARKTTS_MODELS"):
        return Path(chosen).expanduser()
    data = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(data).expanduser() / "sparktts" / "models"


def resolve(model: str | PathLike[str]) -> Path:
    """The directory of a model: a path, `ember`, a name in the models directory, or a repository downloaded there.

    Raises CheckpointError saying how to download one.
    """
    text = os.fspath(model)
    if not text.strip():
        raise CheckpointError("The model's name is empty; give a directory or the name of a downloaded model.")
    try:
        if Path(text).is_dir():
            return Path(text)
        if text == bundled.NAME:
            return bundled.DIRECTORY
        is_repo = is_repository_name(text)
        name = text.rsplit("/", 1)[-1] if is_repo else text
        known = models_directory() / name
        if _is_plain(name) and known.is_dir() and (not is_repo or _origin(known) in (None, text)):
            return known
    except (OSError, ValueError):  # too long for a path, or holding a zero character
        pass
    return checkpoint_directory(text)


def download(
    repo: str = OFFICIAL_REPO,
    source: str = "huggingface",
    accept_license: bool = False,
    target: str | PathLike[str] | None = None,
) -> Path:
    """Downloads a checkpoint, going on where an earlier attempt stopped. Returns its directory.

    target: default is the repository's name in the models directory. Raises OptionError when the licence is
    not accepted or an option is wrong, CheckpointError when the download fails or is no checkpoint.
    """
    if source not in SOURCES:
        raise OptionError(f"The source must be {' or '.join(SOURCES)}, not {source!r:.40}.")
    if not is_repository_name(repo):
        raise OptionError(f"A repository is named `owner/name`, like `{OFFICIAL_REPO}`, not {repo!r:.80}.")
    if not accept_license:
        raise OptionError(_licence_notice(repo))
    directory = Path(target) if target is not None else models_directory() / repo.split("/")[1]
    if directory.exists() and not directory.is_dir():
        raise OptionError(f"{directory} is a file; give a directory to download into.")
    if (other := _origin(directory)) not in (None, repo):
        raise OptionError(f"{directory} holds {other}; give another directory for {repo}.")
    fetch = _from_huggingface if source == "huggingface" else _from_modelscope
    try:
        fetch(repo, directory)
    except KeyboardInterrupt:
        raise CheckpointError(
            f"The download of {repo} was interrupted; the same command goes on where it stopped."
        ) from None
    except OSError as error:
        raise _failure(repo, error) from error
    Checkpoint.open(directory)
    return directory


def _origin(directory: Path) -> str | None:
    """The repository that a directory was downloaded from, if it says so: owners may share a model's name."""
    try:
        return (directory / ORIGIN_FILE).read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return None


def _claim(repo: str, directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    (directory / ORIGIN_FILE).write_text(repo + "\n", encoding="utf-8")


def _licence_notice(repo: str) -> str:
    if repo == OFFICIAL_REPO:
        return (
            f"The official weights of {repo} are licensed {OFFICIAL_LICENCE}: read the licence on the model's"
            " page, and give `--accept-license` if you accept it."
        )
    return (
        f"Weights have licences of their own; the official Spark-TTS's is {OFFICIAL_LICENCE}: read what the"
        f" page of {repo} says, and give `--accept-license` if you accept it."
    )


def _from_huggingface(repo: str, directory: Path) -> None:
    import huggingface_hub
    from huggingface_hub import errors, utils

    try:
        # Asked first: a snapshot into an existing folder passes over an unknown or unreachable repository.
        commit = huggingface_hub.HfApi().model_info(repo).sha
        _claim(repo, directory)
        with _progress_on_terminals_only(utils):
            huggingface_hub.snapshot_download(repo, revision=commit, local_dir=directory, allow_patterns=list(FILES))
    except errors.GatedRepoError as error:
        raise CheckpointError(
            f"The repository {repo} asks you to accept its terms first: do so on its page, then log in with"
            " `hf auth login`."
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise CheckpointError(
            f"There is no repository {repo} on the hub, or it is private; check the name, or log in with"
            " `hf auth login`."
        ) from error
    except _OUR_MISTAKES:
        raise
    except Exception as error:
        # The hub's client lets errors of its transport through, whose types differ between its versions.
        raise _failure(repo, error) from error


def _from_modelscope(repo: str, directory: Path) -> None:
    try:
        from modelscope import snapshot_download
    except ImportError:
        raise CheckpointError(
            "Downloading from ModelScope needs the package `modelscope`: `pip install modelscope`, or leave"
            " out the source."
        ) from None
    try:
        _claim(repo, directory)
        snapshot_download(repo, local_dir=str(directory), allow_patterns=list(FILES))
    except _OUR_MISTAKES:
        raise
    except Exception as error:
        raise _failure(repo, error) from error


@contextmanager
def _progress_on_terminals_only(utils: Any) -> Iterator[None]:
    """Switches the hub's bars off while stderr is not a terminal."""
    if sys.stderr.isatty() or utils.are_progress_bars_disabled():
        yield
        return
    utils.disable_progress_bars()
    try:
        yield
    finally:
        utils.enable_progress_bars()


def _failure(repo: str, error: BaseException) -> CheckpointError:
    if isinstance(error, OSError) and error.errno == 28:
        return CheckpointError(f"The disk is full; {repo} needs about 4 GB: free some and run the same command again.")
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:160].rstrip(".: ")
    return CheckpointError(
        f"The download of {repo} failed ({reason}): check the network and run the same command again, which"
        " goes on where it stopped, or copy a downloaded model directory here and give its path."
    )


def _is_plain(name: str) -> bool:
    """Whether a name is one folder's name: no separators, nothing above."""
    return name not in ("", ".", "..") and not set(name) & set("/\\:\0")
