"""The process in which a native tool runs: reads a job, calls the task, answers in JSON, again and again.

Started by `profilers.workers` as `python -c "from profilers.worker import main; main(fd, parent)"`. Standard
output and error go to a file that the parent holds, so that what a native library prints before it dies can
be quoted. Nothing here or in the answers is pickled: a worker that a hostile model has taken over can send
the parent nothing but JSON.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import json
import os
import resource
import signal
import sys
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_MAX_OUTPUT_BYTES = 64 << 20
_MAX_REASON = 500
Task = Callable[[bytes, dict[str, Any]], dict[str, Any]]


class UnsupportedError(Exception):
    """Raised by a task whose tool works but cannot take this model; its text is the reason."""


def main(descriptor: int, parent: int) -> None:
    """Serve jobs from the inherited socket `descriptor` until the parent process closes it or dies."""
    _die_with(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (_MAX_OUTPUT_BYTES, _MAX_OUTPUT_BYTES))
    with Connection(descriptor) as connection, contextlib.suppress(EOFError, BrokenPipeError):
        while True:
            header = json.loads(connection.recv_bytes())
            task = _load(header["task"])
            connection.send_bytes(b"ready")  # the parent's clock starts here, after slow imports
            connection.send_bytes(json.dumps(_serve(task, header, connection.recv_bytes())).encode())


def printed() -> str:
    """Return what has been printed since the job began, by native code too."""
    sys.stdout.flush()
    sys.stderr.flush()
    length = os.fstat(2).st_size
    return os.pread(2, length, 0).decode(errors="replace")


def _serve(task: Task, header: dict[str, Any], data: bytes) -> dict[str, Any]:
    os.ftruncate(2, 0)
    os.lseek(2, 0, os.SEEK_SET)
    try:
        with _address_space(header["memory_limit_bytes"]):
            return {"value": task(data, header["arguments"])}
    except UnsupportedError as error:
        return {"unsupported": str(error)}
    except MemoryError:
        return {"failure": "ran out of memory", "out_of_memory": True}
    except Exception as error:
        message = " ".join(str(error).split())[:_MAX_REASON]
        return {"failure": f"failed: {type(error).__name__}: {message}"}


def _load(name: str) -> Task:
    module, _, function = name.partition(":")
    task: Task = getattr(importlib.import_module(module), function)
    return task


@contextlib.contextmanager
def _address_space(extra_bytes: int) -> Iterator[None]:
    """Let the address space grow by `extra_bytes` at most while the job runs."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    wanted = pages * resource.getpagesize() + extra_bytes
    limit = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (hard, hard))


def _die_with(parent: int) -> None:
    """Have the kernel kill this process when its parent dies, even inside a native call that hangs."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
