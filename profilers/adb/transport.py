"""A connection to one phone: commands with exit codes, verified files, and patience when it goes away.

Commands use ADB's shell protocol, version 2 (Android 7 and later), which keeps stdout, stderr and the exit
code apart. Everything done here may be repeated without harm, so a command whose connection broke is sent
again after the phone is back: callers must keep it so.
"""

from __future__ import annotations

import functools
import hashlib
import io
import random
import shlex
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from perfsage.errors import StableDeviceError, TransientDeviceError
from profilers.adb.address import Address
from profilers.adb.wire import Wire

Result = TypeVar("Result")

FIRST_DELAY_S, LONGEST_DELAY_S = 0.1, 5.0


class StorageFullError(StableDeviceError):
    """The phone has no room for a file."""


@dataclass(frozen=True, slots=True)
class Completed:
    """What a command left: exit code and both streams."""

    code: int
    stdout: bytes
    stderr: bytes

    @property
    def text(self) -> str:
        """Standard output as text, bytes that are not UTF-8 shown as escapes."""
        return self.stdout.decode("utf-8", "backslashreplace")


class Adb:
    """One phone. Methods may be called from several threads; they take turns.

    `patience_s` is how long a phone that does not answer is waited for, with growing pauses; then
    TransientDeviceError. A phone that refuses this machine's key raises StableDeviceError at once.
    """

    def __init__(
        self, address: Address | str, *, key_path: Path | None = None, patience_s: float = 30.0
    ) -> None:
        self.address = Address.parse(address) if isinstance(address, str) else address
        self.patience_s = patience_s
        self.key_path = key_path
        self._wire = Wire(self.address, key_path)
        self._lock = threading.RLock()

    def run(
        self,
        command: Sequence[str] | str,
        *,
        timeout_s: float = 30.0,
        check: bool = True,
        limit_bytes: int = 1 << 20,
        patience_s: float | None = None,
    ) -> Completed:
        """Run a command (a list is quoted, a string is shell text) and return what it left.

        With `check`, a non-zero exit raises StableDeviceError with the command's own words. A command
        that takes longer than `timeout_s` or prints more than `limit_bytes` is ended.
        """
        text = command if isinstance(command, str) else shlex.join(command)
        done = self._patiently(lambda: Completed(*self._wire.shell(text, timeout_s, limit_bytes)), patience_s)
        if check and done.code != 0:
            said = (done.stderr or done.stdout).decode("utf-8", "backslashreplace").strip()[-500:]
            raise StableDeviceError(
                f"{text.split(maxsplit=1)[0]!r} ended with code {done.code}: {said or 'no message'}",
                where=f"phone {self.address}",
                hint=f"Try it yourself: adb shell {shlex.quote(text[:200])}",
            )
        return done

    def push(self, data: bytes, remote: str, *, mode: int = 0o644, timeout_s: float = 600.0) -> bool:
        """Put `data` at the path `remote`, checked by SHA-256; return False where it was there already.

        The file appears under its name only when whole. StorageFullError where it does not fit.
        """
        folder, _, name = remote.rpartition("/")
        return bool(self.push_files({name: data}, folder or "/", mode=mode, timeout_s=timeout_s))

    def push_files(
        self, files: Mapping[str, bytes], folder: str, *, mode: int = 0o644, timeout_s: float = 600.0
    ) -> list[str]:
        """Put files into a folder, as `push` does; return the names that were not there already."""
        wanted = {f"{folder}/{name}": hashlib.sha256(data).hexdigest() for name, data in files.items()}
        there = self._digests(list(wanted))
        missing = {path: files[path.rpartition("/")[2]] for path in wanted if there.get(path) != wanted[path]}
        if not missing:
            return []
        self._make_room_check(folder, sum(len(data) for data in missing.values()))
        parts = {path: f"{path}.part" for path in missing}
        for path, data in missing.items():
            self._patiently(functools.partial(self._send, data, parts[path], mode, timeout_s), None)
        arrived = self._digests(list(parts.values()))
        if damaged := [path for path, part in parts.items() if arrived.get(part) != wanted[path]]:
            self.run(["rm", "-f", *parts.values()])
            raise TransientDeviceError(
                f"{', '.join(damaged)} arrived damaged",
                where=f"phone {self.address}",
                hint="Check the cable, then try again.",
            )
        # After a connection that broke between move and answer, the second try finds the work done.
        self.run("; ".join(_move(part, path, mode) for path, part in parts.items()))
        return [path.rpartition("/")[2] for path in missing]

    def pull(self, remote: str, *, limit_bytes: int = 64 << 20, timeout_s: float = 600.0) -> bytes:
        """Return the bytes of the file `remote`; a longer one than `limit_bytes` is refused."""
        return self.run(["cat", remote], limit_bytes=limit_bytes, timeout_s=timeout_s).stdout

    def service(self, name: str) -> str:
        """Ask adbd itself for a service, such as `tcpip:5555`, once, and return its words."""
        with self._lock:
            return self._wire.service(name)

    def move_to(self, address: Address) -> None:
        """Reach the same phone at another address from now on."""
        with self._lock:
            self._wire.close()
            self.address, self._wire = address, Wire(address, self.key_path)

    def close(self) -> None:
        """Close the connection; the next command opens it again."""
        with self._lock:
            self._wire.close()

    def __enter__(self) -> Adb:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _digests(self, paths: Sequence[str]) -> dict[str, str]:
        """Return the SHA-256 of the files that are there, by path."""
        done = self.run(["sha256sum", *paths], check=False, timeout_s=120.0)
        lines = (line.partition("  ") for line in done.text.splitlines())
        return {path: digest for digest, _, path in lines}

    def _make_room_check(self, folder: str, size_bytes: int) -> None:
        self.run(["mkdir", "-p", folder])
        free_bytes = self.free_bytes(folder)
        if free_bytes is not None and free_bytes < size_bytes:
            raise StorageFullError(
                f"{size_bytes} bytes are to be stored and {free_bytes} are free",
                where=f"phone {self.address}, {folder}",
                hint="Free some space on the phone, or choose a smaller model.",
            )

    def free_bytes(self, folder: str) -> int | None:
        """Return how much room is left in `folder`, None where `df` does not say."""
        lines = self.run(["df", "-k", folder], check=False).text.splitlines()
        fields = " ".join(lines[1:]).split()
        return int(fields[3]) * 1024 if len(fields) > 3 and fields[3].isdigit() else None

    def _send(self, data: bytes, remote: str, mode: int, timeout_s: float) -> None:
        try:
            self._wire.push(io.BytesIO(data), remote, mode, timeout_s)
        except TransientDeviceError:
            # A phone that fills up answers in the middle of the file, where the protocol library is
            # not listening; whether the file would fit now, without its first part, tells.
            self.run(["rm", "-f", remote], check=False)
            free_bytes = self.free_bytes(remote.rpartition("/")[0])
            if free_bytes is None or free_bytes >= len(data):
                raise
            raise StorageFullError(
                f"the phone filled up while {remote} was sent",
                where=f"phone {self.address}",
                hint="Free some space.",
            ) from None

    def _patiently(self, action: Callable[[], Result], patience_s: float | None) -> Result:
        deadline = time.monotonic() + (self.patience_s if patience_s is None else patience_s)
        delay_s = FIRST_DELAY_S
        while True:
            try:
                with self._lock:
                    return action()
            except TransientDeviceError as error:
                if time.monotonic() + delay_s > deadline:
                    raise TransientDeviceError(
                        f"the phone does not answer: {error.what}",
                        where=f"phone {self.address}",
                        hint="Check that it is on, in reach, and that ADB is enabled.",
                    ) from error
            time.sleep(delay_s * random.uniform(0.8, 1.2))
            delay_s = min(2 * delay_s, LONGEST_DELAY_S)


def _move(part: str, path: str, mode: int) -> str:
    part, path = shlex.quote(part), shlex.quote(path)
    arrived = f"chmod {mode:o} {part} && mv {part} {path}"
    return f"if [ -e {part} ]; then {arrived} || exit 1; else [ -e {path} ] || exit 1; fi"
