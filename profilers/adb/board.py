"""Builds PerfSAGE's own runner for Linux boards that have no benchmark_model."""

from __future__ import annotations

import functools
import platform
import shutil
import subprocess
import tempfile
from importlib.util import find_spec
from pathlib import Path

from perfsage.errors import StableDeviceError
from profilers.adb.elf import elf_abi

SOURCE = Path(__file__).with_name("board_runner.c")
_COMPILERS = {
    "x86_64": ("x86_64-linux-gnu-gcc",),
    "arm64-v8a": ("aarch64-linux-gnu-gcc",),
    "armeabi-v7a": ("arm-linux-gnueabihf-gcc",),
}
_THIS_ABI = {"x86_64": "x86_64", "aarch64": "arm64-v8a", "armv7l": "armeabi-v7a"}


def build_board_runner(library: Path | None, abi: str) -> dict[str, bytes]:
    """Return the files to push: the compiled runner, and LiteRT's library for the board's processor.

    Without `library`, the one of the installed ai-edge-litert is taken where the board's processor is like
    this machine's. StableDeviceError where a compiler or the library is missing.
    """
    library = library or _own_library(abi)
    if library is None or not library.exists():
        raise StableDeviceError(
            f"there is no libLiteRt.so for {abi}",
            where=str(library) if library else None,
            hint="Unpack it from the ai-edge-litert wheel for that processor and set `library` in lab.toml.",
        )
    data = library.read_bytes()
    if elf_abi(data) != abi:
        raise StableDeviceError(
            f"libLiteRt.so is built for {elf_abi(data)} and the board is {abi}",
            where=str(library),
            hint="Take it from the ai-edge-litert wheel for that processor.",
        )
    return {"board_runner": _compiled(abi), "libLiteRt.so": data}


def _own_library(abi: str) -> Path | None:
    spec = find_spec("ai_edge_litert")
    if spec is None or not spec.submodule_search_locations or _THIS_ABI.get(platform.machine()) != abi:
        return None
    return Path(next(iter(spec.submodule_search_locations))) / "libLiteRt.so"


@functools.cache
def _compiled(abi: str) -> bytes:
    own = ("cc", "gcc", "clang") if _THIS_ABI.get(platform.machine()) == abi else ()
    compiler = next((path for name in (*own, *_COMPILERS.get(abi, ())) if (path := shutil.which(name))), None)
    if compiler is None:
        raise StableDeviceError(
            f"there is no C compiler for {abi}",
            hint=f"Install one of: {', '.join((*own, *_COMPILERS.get(abi, ())))}.",
        )
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "board_runner"
        done = subprocess.run(
            [compiler, "-O2", "-o", str(target), str(SOURCE), "-ldl"],
            capture_output=True,
            text=True,
            timeout=60,
        )
        if done.returncode != 0:
            raise StableDeviceError(
                f"{compiler} cannot compile the runner: {done.stderr[-500:]}", where=str(SOURCE)
            )
        return target.read_bytes()
