"""Worker processes for tools that can crash, hang or eat memory: one model is lost, never the run.

Any worker runs any job; a collection shares one pool between all of its tools. Each worker process belongs
to one thread of the pool, which starts it at the first job, replaces it after a crash, a timeout or
`jobs_per_worker` jobs, and answers futures. Workers are new processes (`exec`, not a fork of a threaded
parent) and end with their parent, even if that is killed.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TypeVar

from perfsage.errors import StableDeviceError

_MAX_REPLY_BYTES = 256 << 20
_START_TIMEOUT_S = 60.0
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A call of `task` ("module:function") in a worker, on a model's bytes and JSON arguments.

    `tool` is the name that reasons begin with: "Vela crashed with SIGSEGV".
    """

    tool: str
    task: str
    data: bytes = b""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    timeout_s: float = 120.0
    memory_limit_bytes: int = 4 << 30


@dataclass(frozen=True, slots=True)
class Reply:
    """What a job gave: a JSON object, or why there is none.

    `failure` says that the tool crashed, hung, ran out of memory or raised; `unsupported` that it works
    and does not take this model. Exactly one of the three is set.
    """

    value: dict[str, Any] | None = None
    failure: str | None = None
    unsupported: str | None = None


class WorkerPool:
    """`size` workers, each pinned to one set of `cpus` in turn where given; threads may share a pool."""

    def __init__(
        self,
        size: int = 1,
        *,
        cpus: Sequence[Sequence[int]] = (),
        jobs_per_worker: int = 5000,
        environment: Mapping[str, str] | None = None,
        name: str = "worker",
    ) -> None:
        self.size = max(1, size)
        self._cpus = cpus
        self._jobs_per_worker = jobs_per_worker
        self._environment = {**_environment(), **(environment or {})}
        self._name = name
        self._queue: queue.SimpleQueue[tuple[Job, Future[Reply]] | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._idle = threading.Semaphore(0)
        self._lock = threading.Lock()
        self._closed = False

    def submit(self, job: Job) -> Future[Reply]:
        """Queue `job`; its future never raises, unless workers cannot be started at all."""
        future: Future[Reply] = Future()
        with self._lock:
            if self._closed:
                raise StableDeviceError("the worker pool is closed", hint="Open a new profiler.")
            if len(self._threads) < self.size and not self._idle.acquire(blocking=False):
                self._add_thread()
            self._queue.put((job, future))
        return future

    def run(self, job: Job) -> Reply:
        """Run one job and wait for its reply."""
        return self.submit(job).result()

    def map(self, make_job: Callable[[_T], Job], items: Iterable[_T]) -> Iterator[tuple[_T, Reply]]:
        """Yield (item, reply) in the order of `items`, keeping every worker busy and memory bounded."""
        waiting: deque[tuple[_T, Future[Reply]]] = deque()
        try:
            for item in items:
                waiting.append((item, self.submit(make_job(item))))
                if len(waiting) >= 4 * self.size:
                    first, future = waiting.popleft()
                    yield first, future.result()
            while waiting:
                first, future = waiting.popleft()
                yield first, future.result()
        finally:
            for _, future in waiting:
                future.cancel()

    def close(self) -> None:
        """End all workers after the jobs that run now; queued jobs are cancelled."""
        with self._lock:
            self._closed = True
            while not self._queue.empty():
                entry = self._queue.get()
                if entry:
                    entry[1].cancel()
            for _ in self._threads:
                self._queue.put(None)
        for thread in self._threads:
            thread.join()
        self._threads.clear()

    def __enter__(self) -> WorkerPool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _add_thread(self) -> None:
        index = len(self._threads)
        cpus = self._cpus[index % len(self._cpus)] if self._cpus else ()
        thread = threading.Thread(target=self._serve, args=(cpus,), name=f"{self._name}-{index}", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _serve(self, cpus: Sequence[int]) -> None:
        worker = _Worker(cpus, self._jobs_per_worker, self._environment)
        while (entry := self._queue.get()) is not None:
            job, future = entry
            if not future.set_running_or_notify_cancel():
                continue
            try:
                reply = worker.run(job)
            except BaseException as error:
                future.set_exception(error)
            else:
                self._idle.release()
                future.set_result(reply)
        worker.stop()


class _Worker:
    """One process and the connection to it, replaced as needed."""

    def __init__(self, cpus: Sequence[int], jobs_per_worker: int, environment: Mapping[str, str]) -> None:
        self._cpus = cpus
        self._environment = environment
        self._jobs_per_worker = jobs_per_worker
        self._jobs = 0
        self._last_words = ""
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Connection | None = None
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the worker

    def run(self, job: Job) -> Reply:
        """Return the reply to `job`, or the reason why the process gave none.

        A crash in a process that has served other jobs may be their doing, by a heap that one of them left
        corrupt: such a job gets a second chance in a new process.
        """
        reply = self._run(job)
        if reply is None and self._jobs > 1:
            reply = self._run(job)
        return reply if reply is not None else Reply(failure=f"{job.tool} {self._last_words}")

    def _run(self, job: Job) -> Reply | None:
        """Return the reply to `job`, or None if the process died; `_last_words` says how."""
        connection = self._ready()
        self._jobs += 1
        header = {
            "task": job.task,
            "arguments": dict(job.arguments),
            "memory_limit_bytes": job.memory_limit_bytes,
        }
        try:
            connection.send_bytes(json.dumps(header).encode())
            if not connection.poll(_START_TIMEOUT_S) or connection.recv_bytes(64) != b"ready":
                self._kill()
                return Reply(failure=f"{job.tool}'s worker did not start within {_START_TIMEOUT_S:g} s")
            connection.send_bytes(job.data)
            if not connection.poll(job.timeout_s):
                self._kill()
                return Reply(failure=f"{job.tool} did not finish within {job.timeout_s:g} s")
            return _reply(job, json.loads(connection.recv_bytes(_MAX_REPLY_BYTES)))
        except (EOFError, OSError, ValueError):
            self._last_words = self._death()
            return None

    def stop(self) -> None:
        """End the process and drop what it printed."""
        self._kill()
        self._output.close()

    def _ready(self) -> Connection:
        if self._connection is not None and self._jobs < self._jobs_per_worker:
            return self._connection
        self._kill()
        self._start()
        assert self._connection is not None
        return self._connection

    def _start(self) -> None:
        ours, theirs = socket.socketpair()
        code = f"from profilers.worker import main; main({theirs.fileno()}, {os.getpid()})"
        self._process = subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=self._output,
            pass_fds=[theirs.fileno()],
            env=self._environment,
        )
        theirs.close()
        self._connection = Connection(ours.detach())
        self._jobs = 0
        if self._cpus:
            os.sched_setaffinity(self._process.pid, self._cpus)

    def _death(self) -> str:
        """Say how the process ended, with the last line it printed."""
        assert self._process is not None
        try:
            code = self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        lines = os.pread(self._output.fileno(), 1 << 16, 0).decode(errors="replace").split("\n")
        last = next((line.strip() for line in reversed(lines) if line.strip()), "")
        self._kill()
        how = f"crashed with {signal.Signals(-code).name}" if code < 0 else f"ended with exit status {code}"
        return f"{how}: {last[:300]}" if last else how

    def _kill(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


def _reply(job: Job, answer: dict[str, Any]) -> Reply:
    if "value" in answer:
        return Reply(value=answer["value"])
    if "unsupported" in answer:
        return Reply(unsupported=answer["unsupported"])
    reason = f"{job.tool} {answer['failure']}"
    if answer.get("out_of_memory"):
        reason += f" (limit {job.memory_limit_bytes / (1 << 20):.0f} MiB)"
    return Reply(failure=reason)


def _environment() -> dict[str, str]:
    """The parent's environment and import path; one thread for numpy, which workers barely use."""
    single = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    path = os.pathsep.join(entry or str(Path.cwd()) for entry in sys.path)
    return {**os.environ, **single, "PYTHONPATH": path}
