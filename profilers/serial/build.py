"""Builds the firmware for an emulated board: `python -m profilers.serial.build mps2-an386`."""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from profilers.serial.boards import EmulatedBoard, find_board
from profilers.serial.headers import fetch_headers
from profilers.serial.toolchain import build_lock, cache_folder, made, run_tool

FIRMWARE = Path(__file__).parent / "firmware"
COMMON_FLAGS = ("-mthumb", "-O2", "-g", "-ffunction-sections", "-fdata-sections", "-Wall", "-Wextra")
CXX_FLAGS = (
    "-std=gnu++17",
    "-fno-exceptions",
    "-fno-rtti",
    "-fno-threadsafe-statics",
    "-fno-use-cxa-atexit",
    "-DNDEBUG",
    "-DTF_LITE_STATIC_MEMORY",
)
LINK_FLAGS = ("-nostartfiles", "--specs=nano.specs", "--specs=nosys.specs", "-Wl,--gc-sections")


def build_firmware(board_name: str, *, energy_mode: bool = False) -> Path:
    """Return the ELF file for a board, built unless the same sources have been built before.

    Of several processes that ask at once, one builds; StableDeviceError says which tool failed.
    """
    board = find_board(board_name)
    elf = cache_folder() / f"{board.name}-{_sources_hash(board, energy_mode)}.elf"
    if elf.exists():
        return elf
    with build_lock():
        if elf.exists():
            return elf
        headers = fetch_headers()
        with tempfile.TemporaryDirectory(dir=made(cache_folder())) as folder:
            _compile(board, headers, Path(folder), energy_mode).replace(elf)
    return elf


def _compile(board: EmulatedBoard, headers: Path, folder: Path, energy_mode: bool) -> Path:
    flags = [
        *board.flags,
        *COMMON_FLAGS,
        f"-D{board.define}",
        f'-DBOARD_NAME="{board.name}"',
        f"-DPERFSAGE_ENERGY_MODE={int(energy_mode)}",
    ]
    includes = [f"-isystem{headers}", f"-isystem{headers / 'gemmlowp'}"]
    compilers = {".cc": ["arm-none-eabi-g++", *CXX_FLAGS], ".c": ["arm-none-eabi-gcc"]}
    sources = [_engine(folder), *sorted(FIRMWARE.glob("*.c")), FIRMWARE / "boards/mps2.c"]
    commands = [
        [*compilers[source.suffix], *flags, *includes, "-c", str(source), "-o", f"{source.stem}.o"]
        for source in sources
    ]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(lambda command: run_tool(command, folder), commands))
    (folder / "board.ld").write_text(_linker_script(board))
    objects = [f"{source.stem}.o" for source in sources]
    link = ["arm-none-eabi-g++", *board.flags, "-mthumb", *objects, "-Tboard.ld", *LINK_FLAGS]
    run_tool([*link, "-ofirmware.elf"], folder)
    return folder / "firmware.elf"


def _engine(folder: Path) -> Path:
    """Return the engine as one source: most of a build is reading TFLite's headers, so read them once."""
    engine = folder / "reference.cc"
    parts = sorted((FIRMWARE / "engines/reference").glob("*.cc"))
    engine.write_text("".join(f'#include "{part}"\n' for part in parts))
    return engine


def _linker_script(board: EmulatedBoard) -> str:
    text = (FIRMWARE / "boards/mps2.ld.in").read_text()
    for key, value in {
        "FLASH_ORIGIN": 0,
        "FLASH_LENGTH": board.flash_bytes,
        "RAM_ORIGIN": board.ram_origin,
        "RAM_LENGTH": board.ram_bytes,
    }.items():
        text = text.replace(f"@{key}@", hex(value))
    return text


def _sources_hash(board: EmulatedBoard, energy_mode: bool) -> str:
    digest = hashlib.sha256(f"{board}{energy_mode}{COMMON_FLAGS}{CXX_FLAGS}{LINK_FLAGS}".encode())
    # This file too: it decides how the sources become one.
    digest.update(Path(__file__).read_bytes())
    for path in sorted(p for p in FIRMWARE.rglob("*") if p.is_file()):
        digest.update(path.relative_to(FIRMWARE).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:12]


if __name__ == "__main__":
    print(build_firmware(sys.argv[1]))
