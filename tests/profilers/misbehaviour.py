"""Tasks that treat their worker process badly, each in its own way."""

from __future__ import annotations

import ctypes
import os
import signal
import time
from typing import Any

from profilers.worker import UnsupportedError

Answer = dict[str, Any]
USED: list[bool] = []


def echo(data: bytes, arguments: Answer) -> Answer:
    return {"length": len(data), "process": os.getpid(), **arguments}


def segfault(data: bytes, arguments: Answer) -> Answer:
    return {"never": ctypes.string_at(0)}


def crash_in_a_used_process(data: bytes, arguments: Answer) -> Answer:
    """Crashes where another job has been, as after one that corrupted the heap."""
    if USED:
        os.abort()
    USED.append(True)
    return {"survived": True}


def abort(data: bytes, arguments: Answer) -> Answer:
    os.write(2, b"Check failed: everything\n")
    os.abort()


def stop(data: bytes, arguments: Answer) -> Answer:
    os._exit(3)


def hang_with_the_gil(data: bytes, arguments: Answer) -> Answer:
    ctypes.PyDLL(None).sleep(600)
    return {}


def eat_memory(data: bytes, arguments: Answer) -> Answer:
    return {"length": len(bytearray(arguments["bytes"]))}


def fail(data: bytes, arguments: Answer) -> Answer:
    raise ValueError("not today")


def refuse(data: bytes, arguments: Answer) -> Answer:
    raise UnsupportedError("not this model")


def flood_output(data: bytes, arguments: Answer) -> Answer:
    line = b"x" * (1 << 20)
    written = 0
    for _ in range(200):
        written += os.write(2, line)
    return {"written": written}


def interrupt(data: bytes, arguments: Answer) -> Answer:
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(0.05)
    return {"survived": True}


def answer_with_nonsense(data: bytes, arguments: Answer) -> Answer:
    return {"not JSON": object()}
