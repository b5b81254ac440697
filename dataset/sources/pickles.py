"""Read pickled lists of numbers by interpreting their opcodes: nothing is imported, nothing is called.

The format is documented in the standard library's pickletools, which lists the opcodes without obeying them.
"""

from __future__ import annotations

import pickletools
import struct
from pathlib import Path
from typing import Any

from dataset.sources.source import wrong

_LARGEST_FILE_BYTES = 64 << 20
_MARK = object()
_VALUES = {
    "BINFLOAT", "FLOAT", "BININT", "BININT1", "BININT2", "INT", "LONG", "LONG1", "LONG4", "SHORT_BINUNICODE",
    "BINUNICODE", "UNICODE", "SHORT_BINBYTES", "BINBYTES", "SHORT_BINSTRING", "BINSTRING", "STRING",
}  # fmt: skip
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_FLOAT64 = ("dtype", "f8")
_NUMPY = {("numpy.core.multiarray", "scalar"), ("numpy._core.multiarray", "scalar"), ("numpy", "dtype")}


def read_pickled_numbers(path: Path) -> list[float]:
    """Return a pickled list of numbers, Python's own or NumPy's float64; anything else is refused."""
    if not path.is_file():
        raise wrong("there is no such file", path)
    if path.stat().st_size > _LARGEST_FILE_BYTES:
        raise wrong(f"the file is larger than {_LARGEST_FILE_BYTES >> 20} MB", path)
    try:
        value = _Machine().run(path.read_bytes())
        return [_number(item) for item in value]
    except (ValueError, IndexError, TypeError, KeyError, struct.error) as error:
        raise wrong(f"this is no pickled list of numbers: {error}", path) from error


def _number(item: Any) -> float:
    if isinstance(item, bool) or not isinstance(item, int | float):
        raise ValueError(f"it holds {type(item).__name__} where a number should be")
    return float(item)


class _Machine:
    """A stack and a memo, as the format prescribes."""

    def __init__(self) -> None:
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}

    def run(self, data: bytes) -> list[Any]:
        for opcode, argument, _ in pickletools.genops(data):
            if opcode.name == "STOP":
                result = self._stack.pop()
                if isinstance(result, list | tuple):
                    return list(result)
                raise ValueError(f"it holds {type(result).__name__}, not a list")
            self._step(opcode.name, argument)
        raise ValueError("it ends too early")

    def _step(self, name: str, argument: Any) -> None:
        stack = self._stack
        if name in ("PROTO", "FRAME"):
            return
        if name in _VALUES:
            stack.append(argument)
        elif name in _CONSTANTS:
            stack.append(_CONSTANTS[name])
        elif name in ("EMPTY_LIST", "EMPTY_TUPLE"):
            stack.append([])
        elif name == "MARK":
            stack.append(_MARK)
        elif name in ("MEMOIZE", "BINPUT", "LONG_BINPUT", "PUT"):
            self._memo[len(self._memo) if name == "MEMOIZE" else int(argument)] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET", "GET"):
            stack.append(self._memo[int(argument)])
        else:
            self._combine(name, argument)

    def _combine(self, name: str, argument: Any) -> None:
        stack = self._stack
        if name == "APPEND":
            item = stack.pop()
            stack[-1].append(item)
        elif name in ("APPENDS", "LIST", "TUPLE"):
            items = self._since_mark()
            if name == "APPENDS":
                stack[-1].extend(items)
            else:
                stack.append(items)
        elif name in ("TUPLE1", "TUPLE2", "TUPLE3"):
            count = int(name[-1])
            stack[-count:] = [stack[-count:]]
        elif name in ("GLOBAL", "STACK_GLOBAL"):
            self._global(tuple(argument.split(" ")) if name == "GLOBAL" else (stack.pop(-2), stack.pop()))
        elif name == "REDUCE":
            arguments, what = stack.pop(), stack.pop()
            stack.append(_apply(what, arguments))
        elif name == "BUILD":  # the byte order of a NumPy type: only little-endian float64 is read
            if stack.pop()[1] != "<" or stack[-1] != _FLOAT64:
                raise ValueError("it holds another type than float64")
        else:
            raise ValueError(f"it uses the opcode {name}, which lists of numbers do not need")

    def _global(self, what: tuple[str, ...]) -> None:
        if what not in _NUMPY:
            raise ValueError(f"it asks for {'.'.join(map(str, what))}")
        self._stack.append(what)

    def _since_mark(self) -> list[Any]:
        start = len(self._stack) - 1 - self._stack[::-1].index(_MARK)
        items = self._stack[start + 1 :]
        del self._stack[start:]
        return items


def _apply(what: Any, arguments: Any) -> Any:
    if what == ("numpy", "dtype") and arguments[0] == "f8":
        return _FLOAT64
    if isinstance(what, tuple) and what[-1] == "scalar" and arguments[0] == _FLOAT64:
        raw = arguments[1]
        data = raw if isinstance(raw, bytes) else raw.encode("latin1")
        return struct.unpack("<d", data)[0]
    raise ValueError("it calls something that numbers do not need")
