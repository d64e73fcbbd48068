"""A pickle interpreter that builds only what a table of tensors consists of. It has no way to run anything.

Plain values become Python values; a tensor becomes a PickledTensor that names its storage. Every global that
is not part of torch's format for tensors is refused by name, and so is every opcode that it does not need.
Source: the opcodes' documentation in Python's pickletools, and files written by torch.save.
"""

from __future__ import annotations

import io
import math
import pickletools
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

MAX_RANK = 16

STORAGE_TYPES = {
    "DoubleStorage": "F64",
    "FloatStorage": "F32",
    "HalfStorage": "F16",
    "BFloat16Storage": "BF16",
    "LongStorage": "I64",
    "IntStorage": "I32",
    "ShortStorage": "I16",
    "CharStorage": "I8",
    "ByteStorage": "U8",
    "BoolStorage": "BOOL",
}
DTYPES = {
    "float64": "F64",
    "float32": "F32",
    "float16": "F16",
    "bfloat16": "BF16",
    "int64": "I64",
    "int32": "I32",
    "int16": "I16",
    "int8": "I8",
    "uint64": "U64",
    "uint32": "U32",
    "uint16": "U16",
    "uint8": "U8",
    "bool": "BOOL",
}
ITEM_SIZES = {
    "F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1,
    "U64": 8, "U32": 4, "U16": 2, "U8": 1, "BOOL": 1,
}  # fmt: skip


class RefusedError(Exception):
    """The pickle holds something else than tensors; the message says what, as the end of a sentence."""


@dataclass(frozen=True)
class Global:
    """A name in a module, never looked up."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass(frozen=True)
class Storage:
    """A block of bytes elsewhere in the file. dtype None: untyped."""

    dtype: str | None
    key: str
    nbytes: int


@dataclass(frozen=True)
class PickledTensor:
    """A view of a storage: offset, shape and strides in values."""

    storage: Storage
    dtype: str
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


_ALLOWED = {
    Global("collections", "OrderedDict"),
    Global("torch.storage", "UntypedStorage"),
    *(Global("torch._utils", f"_rebuild_{kind}") for kind in ("tensor", "tensor_v2", "tensor_v3", "parameter")),
    *(Global("torch", name) for name in (*STORAGE_TYPES, *DTYPES)),
}

_PUSHED = {  # opcodes whose argument is the value
    "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT",
}  # fmt: skip
_CONSTANTS: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_TUPLE": tuple,
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


def unpickle(stream: io.BytesIO) -> Any:
    """The next pickle in a stream, which is left behind it. Raises RefusedError."""
    try:
        return _Machine().run(stream)
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError, EOFError, struct.error):
        # Whatever a damaged stream does to the stack or to pickletools.
        raise RefusedError("a damaged pickle") from None


class _Machine:
    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.marked: list[list[Any]] = []
        self.memo: dict[int, Any] = {}

    def run(self, stream: io.BytesIO) -> Any:
        for opcode, argument, _ in pickletools.genops(stream):
            if opcode.name == "STOP":
                return self.stack.pop()
            self.step(opcode.name, argument)
        raise RefusedError("a damaged pickle")

    def step(self, opcode: str, argument: Any) -> None:
        if opcode in _PUSHED:
            self.stack.append(argument)
        elif opcode in _CONSTANTS:
            self.stack.append(_CONSTANTS[opcode]())
        elif opcode in _TUPLES:
            count = _TUPLES[opcode]
            if len(self.stack) < count:
                raise RefusedError("a damaged pickle")
            self.stack[-count:] = [tuple(self.stack[-count:])]
        elif opcode not in ("PROTO", "FRAME"):
            handler = getattr(self, f"op_{opcode.lower()}", None)
            if handler is None:
                what = f" of `{argument.replace(' ', '.')}`" if opcode == "INST" else ""
                raise RefusedError(f"the pickle instruction {opcode}{what:.100}")
            handler(argument)

    def items(self) -> list[Any]:
        """What was pushed since the last mark."""
        items, self.stack = self.stack, self.marked.pop()
        return items

    def op_mark(self, _: Any) -> None:
        self.marked.append(self.stack)
        self.stack = []

    def op_tuple(self, _: Any) -> None:
        items = self.items()
        self.stack.append(tuple(items))

    def op_memoize(self, _: Any) -> None:
        self.memo[len(self.memo)] = self.stack[-1]

    def op_binput(self, index: int) -> None:
        self.memo[index] = self.stack[-1]

    op_long_binput = op_binput

    def op_binget(self, index: int) -> None:
        self.stack.append(self.memo[index])

    op_long_binget = op_binget

    def op_append(self, _: Any) -> None:
        value = self.stack.pop()
        self._list().append(value)

    def op_appends(self, _: Any) -> None:
        items = self.items()
        self._list().extend(items)

    def op_setitem(self, _: Any) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._set([key, value])

    def op_setitems(self, _: Any) -> None:
        self._set(self.items())

    def op_build(self, _: Any) -> None:
        """The state of an ordered dict (torch keeps version numbers there) is dropped."""
        self.stack.pop()
        if type(self.stack[-1]) is not dict:
            raise RefusedError("an object with state")

    def op_global(self, argument: str) -> None:
        module, _, name = argument.partition(" ")
        self._global(module, name)

    def op_stack_global(self, _: Any) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        if not (isinstance(name, str) and isinstance(module, str)):
            raise RefusedError("a damaged pickle")
        self._global(module, name)

    def op_binpersid(self, _: Any) -> None:
        self.stack.append(_storage(self.stack.pop()))

    def op_reduce(self, _: Any) -> None:
        arguments, function = self.stack.pop(), self.stack.pop()
        if type(function) is not Global or type(arguments) is not tuple:
            raise RefusedError("a call of something that is not a function of torch")
        self.stack.append(_call(function, arguments))

    def _global(self, module: str, name: str) -> None:
        found = Global(module, name)
        if found not in _ALLOWED:
            raise RefusedError(f"`{_clean(str(found))}`")
        self.stack.append(found)

    def _list(self) -> list[Any]:
        target = self.stack[-1]
        if type(target) is not list:
            raise RefusedError("a damaged pickle")
        return target

    def _set(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) is not dict or len(items) % 2:
            raise RefusedError("a damaged pickle")
        for key, value in zip(items[::2], items[1::2], strict=True):
            if not isinstance(key, str | int):  # hashing nested tuples can take for ever
                raise RefusedError(f"a key of type {type(key).__name__}")
            target[key] = value


def _call(function: Global, arguments: tuple[Any, ...]) -> Any:
    """What a function of torch's format means, as a value."""
    name = function.name
    if name == "OrderedDict" and not arguments:
        return {}
    if name == "_rebuild_tensor" and len(arguments) == 4:
        return _tensor(*arguments)
    if name == "_rebuild_tensor_v2" and len(arguments) in (6, 7):
        _only_plain(arguments[5], *arguments[6:])
        return _tensor(*arguments[:4])
    if name == "_rebuild_tensor_v3" and len(arguments) in (7, 8):
        _only_plain(arguments[5], *arguments[7:])
        return _tensor(*arguments[:4], *arguments[6:7])
    if name == "_rebuild_parameter" and len(arguments) == 3 and type(arguments[0]) is PickledTensor:
        _only_plain(arguments[2])
        return arguments[0]
    raise RefusedError(f"a call of `{function}` with unexpected arguments")


def _only_plain(hooks: Any, metadata: Any = None) -> None:
    if hooks or metadata:
        raise RefusedError("a tensor with hooks or with conjugate or negative marks")


def _storage(identity: Any) -> Storage:
    """identity: ("storage", type, key, device, values), and a None in files of torch before 1.6."""
    if type(identity) is not tuple or len(identity) not in (5, 6) or identity[0] != "storage":
        raise RefusedError("a persistent id that is not a storage")
    kind, key, device, count = identity[1:5]
    if (
        type(kind) is not Global
        or not isinstance(key, str)
        or not isinstance(device, str)
        or identity[5:] not in ((), (None,))
    ):
        raise RefusedError("a persistent id that is not a storage")
    if kind == Global("torch.storage", "UntypedStorage"):
        return Storage(None, key, _size(count))
    if kind.module != "torch" or kind.name not in STORAGE_TYPES:
        raise RefusedError(f"a storage of the type `{kind}`")
    dtype = STORAGE_TYPES[kind.name]
    return Storage(dtype, key, _size(count) * ITEM_SIZES[dtype])


def _tensor(storage: Any, offset: Any, shape: Any, strides: Any, dtype: Any = None) -> PickledTensor:
    """Checks that the view lies inside its storage and is not larger than it."""
    if type(storage) is not Storage:
        raise RefusedError("a tensor without storage")
    if type(dtype) is Global and dtype.module == "torch" and dtype.name in DTYPES:
        kind = DTYPES[dtype.name]
    elif dtype is None and storage.dtype is not None:
        kind = storage.dtype
    else:
        raise RefusedError("a tensor of unknown type")
    if type(shape) is not tuple or type(strides) is not tuple or len(shape) != len(strides) or len(shape) > MAX_RANK:
        raise RefusedError("a tensor whose shape and strides do not match")
    shape, strides, offset = tuple(map(_size, shape)), tuple(map(_size, strides)), _size(offset)
    count = math.prod(shape)
    last = offset + sum((n - 1) * stride for n, stride in zip(shape, strides, strict=True))
    held = storage.nbytes // ITEM_SIZES[kind]
    if count and (last >= held or count > held):
        raise RefusedError("a tensor that reaches beyond its storage")
    return PickledTensor(storage, kind, offset, shape, strides)


def _size(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 1 << 48:
        _bad_size()
    return value


def _bad_size() -> NoReturn:
    raise RefusedError("a size or stride that is out of range")


def _clean(name: str) -> str:
    return name[:100] if name.isprintable() else ascii(name[:100])
