"""One process of this machine at a time on a phone; the lock goes when the process does, however it ends."""

from __future__ import annotations

import fcntl
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from perfsage.errors import TransientDeviceError
from profilers.adb.address import Address


@contextmanager
def phone_lock(address: Address) -> Iterator[None]:
    """Hold the phone; TransientDeviceError where another process of this machine holds it."""
    runtime = Path(os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir())
    path = runtime / f"perfsage-{os.getuid()}-{re.sub(r'[^A-Za-z0-9]+', '-', str(address))}.lock"
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.pread(handle, 32, 0).decode("ascii", "replace").strip() or "unknown"
            raise TransientDeviceError(
                f"the phone is in use by process {holder}",
                where=f"phone {address}",
                hint="Wait until it is done.",
            ) from None
        os.ftruncate(handle, 0)
        os.pwrite(handle, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(handle)
