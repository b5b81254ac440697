"""Where built firmware is kept, who may build at a time, and how the tools of a build are run."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from perfsage.errors import StableDeviceError, TransientDeviceError

TOOL_PACKAGES = (
    "qemu-system-arm",
    "gcc-arm-none-eabi",
    "libnewlib-arm-none-eabi",
    "libstdc++-arm-none-eabi-newlib",
)
TOOL_TIMEOUT_S = 300.0
LOCK_TIMEOUT_S = 900.0


def cache_folder() -> Path:
    """Return where headers and firmware are kept: $PERFSAGE_CACHE, or the user's cache folder."""
    root = os.environ.get("PERFSAGE_CACHE") or Path(
        os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "perfsage"
    )
    return Path(root) / "firmware"


@contextmanager
def build_lock(timeout_s: float = LOCK_TIMEOUT_S) -> Iterator[None]:
    """Let one process of this cache fetch and build; the others wait, and find what it built.

    TransientDeviceError when the other takes longer than `timeout_s`. The lock ends with its process.
    """
    path, deadline = made(cache_folder()) / "lock", time.monotonic() + timeout_s
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        while not _taken(handle):
            if time.monotonic() >= deadline:
                raise TransientDeviceError(
                    f"another process has been building firmware for {timeout_s:g} s",
                    where=str(path),
                    hint="Wait until it is done, or end it.",
                )
            time.sleep(0.1)
        yield
    finally:
        os.close(handle)


def _taken(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def missing_tools() -> list[str]:
    """Return the programs that emulation needs and this machine has not."""
    needed = ("qemu-system-arm", "arm-none-eabi-gcc", "arm-none-eabi-g++", "apt-get", "dpkg")
    return [tool for tool in needed if shutil.which(tool) is None]


def run_tool(command: Sequence[str], folder: Path, *, timeout_s: float = TOOL_TIMEOUT_S) -> None:
    """Run a tool in `folder`; StableDeviceError says which one failed and what it said."""
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=timeout_s, check=False
        )
    except FileNotFoundError:
        raise _tool_error(f"{command[0]} is not installed") from None
    except subprocess.TimeoutExpired:
        raise _tool_error(f"{command[0]} failed: it took longer than {timeout_s:g} s") from None
    if done.returncode != 0:
        raise _tool_error(f"{command[0]} failed: {(done.stderr or done.stdout).strip()[-2000:]}")


def _tool_error(what: str) -> StableDeviceError:
    return StableDeviceError(
        what, where="building firmware", hint=f"Install with: apt-get install {' '.join(TOOL_PACKAGES)}"
    )


def made(folder: Path) -> Path:
    """Make a folder where there is none, and return it."""
    folder.mkdir(parents=True, exist_ok=True)
    return folder
