"""Builds the firmware for an emulated board: `python -m profilers.serial.build mps2-an386`.

TFLite's reference kernels come as headers from Debian's packages. apt fetches them into a cache of our own,
from Debian's own archive, with its keys, and leaves the machine's package lists alone; dpkg unpacks them.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from perfsage.errors import StableDeviceError
from profilers.serial.boards import EmulatedBoard, find_board

FIRMWARE = Path(__file__).parent / "firmware"
HEADER_PACKAGES = ("libtensorflow-lite-dev", "libflatbuffers-dev", "libgemmlowp-dev", "libruy-dev")
TOOL_PACKAGES = (
    "qemu-system-arm",
    "gcc-arm-none-eabi",
    "libnewlib-arm-none-eabi",
    "libstdc++-arm-none-eabi-newlib",
)
DEBIAN_SOURCE = """\
Types: deb
URIs: http://deb.debian.org/debian
Suites: sid
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
"""
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


def cache_folder() -> Path:
    """Return where headers and firmware are kept: $PERFSAGE_CACHE, or the user's cache folder."""
    root = os.environ.get("PERFSAGE_CACHE") or Path(
        os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "perfsage"
    )
    return Path(root) / "firmware"


def build_firmware(board_name: str, *, energy_mode: bool = False) -> Path:
    """Return the ELF file for a board, built unless the same sources have been built before."""
    board = find_board(board_name)
    key = _sources_hash(board, energy_mode)
    elf = cache_folder() / f"{board.name}-{key}.elf"
    if elf.exists():
        return elf
    headers = fetch_headers()
    with tempfile.TemporaryDirectory(dir=_made(cache_folder())) as folder:
        built = _compile(board, headers, Path(folder), energy_mode)
        built.replace(elf)
    return elf


def missing_tools() -> list[str]:
    """Return the programs that emulation needs and this machine has not."""
    needed = ("qemu-system-arm", "arm-none-eabi-gcc", "arm-none-eabi-g++", "apt-get", "dpkg")
    return [tool for tool in needed if shutil.which(tool) is None]


def fetch_headers() -> Path:
    """Return the folder with the kernels' headers, fetched by apt the first time."""
    root = cache_folder() / "headers"
    if (root / "usr/include/tensorflow/lite").is_dir():
        return root / "usr/include"
    with tempfile.TemporaryDirectory(dir=_made(cache_folder())) as name:
        folder = Path(name)
        options = _apt_options(folder)
        _run(["apt-get", *options, "update", "-q"], folder)
        _run(["apt-get", *options, "download", "-q", *HEADER_PACKAGES], folder)
        for package in sorted(folder.glob("*.deb")):
            _run(["dpkg", "-x", str(package), "root"], folder)
        shutil.rmtree(root, ignore_errors=True)
        (folder / "root").replace(root)
    return root / "usr/include"


def _apt_options(folder: Path) -> list[str]:
    for part in ("sources", "lists/partial", "cache/archives/partial"):
        _made(folder / part)
    (folder / "sources" / "debian.sources").write_text(DEBIAN_SOURCE)
    settings = {
        "Dir::Etc::sourcelist": "/dev/null",
        "Dir::Etc::sourceparts": str(folder / "sources"),
        "Dir::State::lists": str(folder / "lists"),
        "Dir::State::status": "/dev/null",
        "Dir::Cache": str(folder / "cache"),
        # The unprivileged fetcher of apt cannot enter a folder that only its owner may enter.
        "APT::Sandbox::User": "root",
    }
    return [word for key, value in settings.items() for word in ("-o", f"{key}={value}")]


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
    sources = _sources()
    objects = [f"{source.stem}.o" for source in sources]
    commands = [
        [*compilers[source.suffix], *flags, *includes, "-c", str(source), "-o", built]
        for source, built in zip(sources, objects, strict=True)
    ]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(lambda command: _run(command, folder), commands))
    (folder / "board.ld").write_text(_linker_script(board))
    _run(
        [
            "arm-none-eabi-g++",
            *board.flags,
            "-mthumb",
            *objects,
            "-Tboard.ld",
            *LINK_FLAGS,
            "-ofirmware.elf",
        ],
        folder,
    )
    return folder / "firmware.elf"


def _linker_script(board: EmulatedBoard) -> str:
    text = (FIRMWARE / "boards" / "mps2.ld.in").read_text()
    for key, value in {
        "FLASH_ORIGIN": 0,
        "FLASH_LENGTH": board.flash_bytes,
        "RAM_ORIGIN": board.ram_origin,
        "RAM_LENGTH": board.ram_bytes,
    }.items():
        text = text.replace(f"@{key}@", hex(value))
    return text


def _sources() -> list[Path]:
    patterns = ("*.c", "boards/mps2.c", "engines/reference/*.cc")
    return sorted(path for pattern in patterns for path in FIRMWARE.glob(pattern))


def _sources_hash(board: EmulatedBoard, energy_mode: bool) -> str:
    digest = hashlib.sha256(f"{board}{energy_mode}{COMMON_FLAGS}{CXX_FLAGS}{LINK_FLAGS}".encode())
    for path in sorted(p for p in FIRMWARE.rglob("*") if p.is_file()):
        digest.update(path.relative_to(FIRMWARE).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:12]


def _run(command: Sequence[str], folder: Path) -> None:
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=600, check=False)
    except FileNotFoundError:
        raise _tool_error(f"{command[0]} is not installed") from None
    except subprocess.TimeoutExpired:
        raise _tool_error(f"{command[0]} took longer than 10 minutes") from None
    if done.returncode != 0:
        raise _tool_error(f"{command[0]} failed: {(done.stderr or done.stdout).strip()[-2000:]}")


def _tool_error(what: str) -> StableDeviceError:
    return StableDeviceError(
        what, where="building firmware", hint=f"Install with: apt-get install {' '.join(TOOL_PACKAGES)}"
    )


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


if __name__ == "__main__":
    print(build_firmware(sys.argv[1]))
