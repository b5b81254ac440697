"""Flatbuffer tables as fixed-layout structs, with slots and types taken from the `tflite` package.

`tflite` has a function such as `Conv2DOptionsAddPadding(builder, value)` for every field of the schema.
Calling it with a recorder in the builder's place tells the field's slot and scalar type, so that no table
of the schema is repeated here.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import cache, lru_cache

import tflite

_SCALARS = {
    "PrependBoolSlot": "?",
    "PrependInt8Slot": "b",
    "PrependUint8Slot": "B",
    "PrependInt32Slot": "i",
    "PrependUint32Slot": "I",
    "PrependFloat32Slot": "f",
    "PrependUOffsetTRelativeSlot": "I",
}


class _Recorder:
    """Stands in for flatbuffers.Builder and remembers the slot and type of one field."""

    def __init__(self) -> None:
        self.slot = -1
        self.code = ""

    def __getattr__(self, method: str) -> object:
        code = _SCALARS[method]

        def record(slot: int, value: object, default: object) -> None:
            self.slot, self.code = slot, code

        return record


@dataclass(frozen=True, slots=True)
class Layout:
    """One kind of table: `packer` writes [offset to vtable, fields in the order asked for]."""

    vtable: bytes
    packer: struct.Struct
    order: tuple[int, ...]
    """For each packed position, the index of the field that stands there."""
    offsets: tuple[int, ...]
    """For each field asked for, its byte offset inside the table."""

    def pack(self, to_vtable: int, values: tuple[object, ...]) -> bytes:
        """Return the table; `to_vtable` is its position less the position of its vtable."""
        return self.packer.pack(to_vtable, *(values[index] for index in self.order))


@cache
def layout(table: str, *fields: str) -> Layout:
    """Return the layout of `table` with exactly these fields (CamelCase, as in the setters' names)."""
    slots: list[tuple[int, str]] = []
    for field in fields:
        recorder = _Recorder()
        getattr(tflite, f"{table}Add{field}")(recorder, 0)
        slots.append((recorder.slot, recorder.code))
    order = sorted(range(len(fields)), key=lambda index: -struct.calcsize(slots[index][1]))
    positions, position = {}, 4
    for index in order:
        positions[index] = position
        position += struct.calcsize(slots[index][1])
    packer = struct.Struct("<i" + "".join(slots[index][1] for index in order))
    entries = [0] * (max((slot for slot, _ in slots), default=-1) + 1)
    for index, (slot, _) in enumerate(slots):
        entries[slot] = positions[index]
    vtable = struct.pack(f"<{2 + len(entries)}H", 4 + 2 * len(entries), packer.size, *entries)
    return Layout(vtable, packer, tuple(order), tuple(positions[index] for index in range(len(fields))))


@lru_cache(maxsize=4096)
def standalone(table: str, fields: tuple[tuple[str, int | float | bool], ...]) -> tuple[bytes, int]:
    """Return a scalar-only table with its vtable, and where in these bytes the table begins."""
    plan = layout(table, *(name for name, _ in fields))
    start = -(-len(plan.vtable) // 4) * 4
    body = plan.pack(start, tuple(value for _, value in fields))
    return plan.vtable.ljust(start, b"\0") + body, start
