"""The boards that QEMU emulates and our firmware runs on."""

from __future__ import annotations

from dataclasses import dataclass

from perfsage.errors import UnknownNameError


@dataclass(frozen=True, slots=True, kw_only=True)
class EmulatedBoard:
    """A QEMU machine: compiler flags, and where the linker puts code and data."""

    name: str
    core: str
    flags: tuple[str, ...]
    define: str
    flash_bytes: int
    ram_origin: int
    ram_bytes: int


BOARDS = {
    board.name: board
    for board in (
        EmulatedBoard(
            name="mps2-an385",
            core="Cortex-M3",
            flags=("-mcpu=cortex-m3", "-mfloat-abi=soft"),
            define="BOARD_AN385",
            flash_bytes=4 << 20,
            ram_origin=0x20000000,
            ram_bytes=4 << 20,
        ),
        EmulatedBoard(
            name="mps2-an386",
            core="Cortex-M4F",
            flags=("-mcpu=cortex-m4", "-mfpu=fpv4-sp-d16", "-mfloat-abi=hard"),
            define="BOARD_AN386",
            flash_bytes=4 << 20,
            ram_origin=0x20000000,
            ram_bytes=4 << 20,
        ),
        EmulatedBoard(
            name="mps2-an500",
            core="Cortex-M7",
            flags=("-mcpu=cortex-m7", "-mfpu=fpv5-d16", "-mfloat-abi=hard"),
            define="BOARD_AN500",
            flash_bytes=4 << 20,
            ram_origin=0x20000000,
            ram_bytes=4 << 20,
        ),
        EmulatedBoard(
            name="mps3-an547",
            core="Cortex-M55",
            flags=("-mcpu=cortex-m55", "-mfloat-abi=hard"),
            define="BOARD_AN547",
            flash_bytes=512 << 10,
            ram_origin=0x21000000,
            ram_bytes=4 << 20,
        ),
    )
}


def find_board(name: str) -> EmulatedBoard:
    """Return the board called `name`; UnknownNameError lists those that exist."""
    if name in BOARDS:
        return BOARDS[name]
    raise UnknownNameError(f"there is no emulated board {name!r}", hint=f"Known boards: {', '.join(BOARDS)}.")
