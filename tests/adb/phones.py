"""Phones for tests: Debian's real adbd on loopback, one process namespace each. See device/device.sh."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

DEVICE = Path(__file__).parent / "device"
CACHE = Path(
    os.environ.get("PERFSAGE_ADB_CACHE")
    or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "perfsage-adb"
)


def why_not() -> str | None:
    """Return why no phone can be brought up on this machine."""
    if os.geteuid() != 0:
        return "a phone for tests needs root (chroot, mount)"
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / ".lock").open("w") as lock:  # several test processes must not prepare at once
        fcntl.flock(lock, fcntl.LOCK_EX)
        return _prepare()


def _prepare() -> str | None:
    prepared = CACHE / "trixie" / ".prepared"
    newest = max(p.stat().st_mtime for p in DEVICE.iterdir())
    if prepared.exists() and prepared.stat().st_mtime >= newest:
        return None
    if missing := [tool for tool in ("debootstrap", "g++", "unshare") if not shutil.which(tool)]:
        return f"a phone for tests needs {', '.join(missing)}"
    done = subprocess.run([DEVICE / "device.sh", "prepare"], capture_output=True, text=True, timeout=600)
    return None if done.returncode == 0 else f"device.sh prepare failed: {done.stderr[-300:]}"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Phone:
    """One phone that can be booted, restarted, filled, and taken away."""

    def __init__(self, name: str, *, auth: bool = False, size: str = "") -> None:
        self.name = name
        self.port = free_port()
        self.home = CACHE / "run" / name
        self._arguments = [str(self.port), "auth" if auth else "open", size]
        self.boot()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def boot(self) -> None:
        subprocess.run([DEVICE / "device.sh", "boot", self.name, *self._arguments], check=True, timeout=30)

    def off(self) -> None:
        subprocess.run([DEVICE / "device.sh", "off", self.name], check=True, timeout=30)

    def wipe(self) -> None:
        subprocess.run([DEVICE / "device.sh", "wipe", self.name], check=True, timeout=30)

    def restart(self) -> None:
        self.off()
        self.boot()

    def write(self, path: str, text: str) -> None:
        """Play a file of the phone: below /sys, /played or /data. Readers see the old or the new text."""
        target = self.home / path
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(target.name + ".new")
        part.write_text(text)
        part.replace(target)

    def play(self, command: str, script: str) -> None:
        """Give the phone a program that Debian does not have, such as dumpsys."""
        self.write(f"bin/{command}", "#!/bin/sh\n" + script)
        (self.home / "bin" / command).chmod(0o755)

    def init_pid(self) -> int:
        outer = int((self.home / "pid").read_text())
        return int(Path(f"/proc/{outer}/task/{outer}/children").read_text().split()[0])

    def processes(self) -> dict[int, str]:
        """Return the phone's processes apart from init and adbd, by their id on this machine."""
        init = self.init_pid()
        namespace = Path(f"/proc/{init}/ns/pid").readlink()
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                if (folder / "ns" / "pid").readlink() == namespace and int(folder.name) != init:
                    words = (
                        (folder / "cmdline")
                        .read_bytes()
                        .replace(b"\0", b" ")
                        .decode(errors="replace")
                        .strip()
                    )
                    if words and "platform-tools/adbd" not in words and "init.sh" not in words:
                        found[int(folder.name)] = words
            except OSError:
                continue  # it ended meanwhile
        return found

    def kill_adbd(self) -> None:
        """Kill adbd and nothing else; the phone's init starts a new one."""
        init = self.init_pid()
        for pid in Path(f"/proc/{init}/task/{init}/children").read_text().split():
            if b"platform-tools/adbd" in Path(f"/proc/{pid}/cmdline").read_bytes():
                os.kill(int(pid), signal.SIGKILL)

    def hold(self) -> None:
        """Take ADB away: adbd dies and is not restarted until `release`. What runs goes on."""
        self.write("played/hold", "")
        self.kill_adbd()

    def release(self) -> None:
        (self.home / "played" / "hold").unlink()

    def wait_for(self, words: str, timeout_s: float = 10.0) -> int:
        """Return the process whose command line holds `words`, once there is one."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            for pid, line in self.processes().items():
                if words in line and "job.sh" not in line and not line.startswith(("setsid", "sh -c")):
                    return pid
            time.sleep(0.01)
        raise TimeoutError(f"no process with {words!r}; there are {self.processes()}")
