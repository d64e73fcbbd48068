"""How every command ends: an exit code, and for a failure one sentence on stderr."""

from __future__ import annotations

import contextlib
import os
import sys
import traceback
from collections.abc import Callable

from ..errors import SparkTTSError

OK, BUG, REFUSED, STOPPED, PIPE_CLOSED = 0, 1, 2, 130, 141
NO_MEMORY = "The memory is not enough: use a shorter text, --batch-size 1 or --dtype bf16."
MAX_SENTENCE = 300  # characters: names and texts of any length may stand in a message


def guarded(action: Callable[[], None]) -> int:
    """Runs a command and turns whatever it raises into a sentence and an exit code.

    0: done; 1: a bug, or a question answered with no; 2: something the user can mend; 130: stopped by Ctrl-C;
    141: whoever read the output has closed it.
    """
    try:
        action()
        sys.stdout.flush()
    except KeyboardInterrupt:
        print("Stopped.", file=sys.stderr)
        return STOPPED
    except BrokenPipeError:
        _discard_output()
        return PIPE_CLOSED
    except SystemExit as leaving:
        return leaving.code if isinstance(leaving.code, int) else OK
    except SparkTTSError as error:
        return fail(str(error))
    except OSError as error:
        return fail(_of_system(error))
    except Exception as error:
        if _out_of_memory(error):
            return fail(NO_MEMORY)
        return _bug(error)
    return OK


def fail(message: str, code: int = REFUSED) -> int:
    """Prints `Error: <one sentence>` on stderr and returns the exit code."""
    print(f"Error: {one_sentence(message)}", file=sys.stderr)
    return code


def one_sentence(message: str) -> str:
    """The message as one line without control characters, at most MAX_SENTENCE long, ended by a full stop."""
    line = " ".join("".join(c if c.isprintable() else " " for c in message).split())
    line = line if line.endswith((".", "!", "?", "。")) else f"{line}."
    if len(line) <= MAX_SENTENCE:
        return line
    head = MAX_SENTENCE // 2
    return f"{line[:head].rstrip()} ... {line[head + 5 - MAX_SENTENCE :].lstrip()}"


def _of_system(error: OSError) -> str:
    where = f" ({os.fsdecode(error.filename)})" if isinstance(error.filename, (str, bytes)) else ""
    return f"The system refused: {error.strerror or type(error).__name__}{where}"


def _out_of_memory(error: Exception) -> bool:
    """Python's own error, PyTorch's for a device, and the one that PyTorch's CPU allocator words itself."""
    return (
        isinstance(error, MemoryError) or "OutOfMemory" in type(error).__name__ or "can't allocate memory" in str(error)
    )


def _bug(error: Exception) -> int:
    if os.environ.get("SPARKTTS_DEBUG") == "1":
        traceback.print_exc()
    return fail(
        f"sparktts failed unexpectedly ({type(error).__name__}): please report it with the command "
        "and what it prints when SPARKTTS_DEBUG=1 is set.",
        BUG,
    )


def _discard_output() -> None:
    """Lets the interpreter's last flush go nowhere, where it would complain about the closed pipe."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
