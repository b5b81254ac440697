"""A collection on this machine: a producer of networks, a lane a device, and the caller, who stores.

Networks are built in a shared pool of workers, which also runs the tools that can share it (Vela, TFLM).
Devices that measure time have a lane of their own. This process reads graphs, drops duplicates and commits.
"""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Sequence
from contextlib import ExitStack, closing

from api.workflows.building import NotBuilt, build_networks
from api.workflows.collect import Collection, Missing
from api.workflows.lanes import MAX_WAITING_RESULTS, Ended, Lane, Measured, Results, Skipped
from api.workflows.sink import Sink
from profilers.registry import open_profiler, shares_pool
from profilers.workers import WorkerPool

SHARED_BATCH_NETWORKS = 16
ALONE_BATCH_NETWORKS = 60
"""A device that measures time visits the networks of a batch in turn: more of them spread visits further."""


def collect_here(request: Collection, missing: Missing, sink: Sink) -> None:
    """Measure everything that is missing; whatever happens, what was measured is stored."""
    _Run(request, missing, sink).run()


class _Run:
    """The threads of one collection."""

    def __init__(self, request: Collection, missing: Missing, sink: Sink) -> None:
        self._request = request
        self._missing = missing
        self._sink = sink
        self._results: Results = queue.Queue(maxsize=MAX_WAITING_RESULTS)

    def run(self) -> None:
        """Start the threads, store until they have ended, and raise what ended one of them too early."""
        with ExitStack() as stack:
            devices = self._missing.devices()
            pool = stack.enter_context(self._pool(devices))
            lanes = [self._lane(device, pool, stack) for device in devices]
            producer = threading.Thread(target=self._produce, args=(pool, lanes), daemon=True)
            for thread in (*lanes, producer):
                thread.start()
            try:
                errors = self._store_results(threads=len(lanes) + 1)
            except KeyboardInterrupt:
                # Closing would wait for the jobs that run; workers end with this process, phones do not.
                stack.pop_all()
                for lane in lanes:
                    lane.let_go()
                raise
        if errors:
            raise errors[0]

    def _pool(self, devices: Sequence[str]) -> WorkerPool:
        """Return the workers, kept off the core on which the host measures itself."""
        cores = sorted(os.sched_getaffinity(0))
        free = cores[:-1] if "host-cpu" in devices and len(cores) > 1 else cores
        return WorkerPool(self._request.workers or len(free), cpus=[free], name="collect")

    def _lane(self, device: str, pool: WorkerPool, stack: ExitStack) -> Lane:
        profiler = stack.enter_context(closing(open_profiler(device, pool=pool)))
        self._sink.add_device(profiler.describe())
        batch = SHARED_BATCH_NETWORKS if shares_pool(device) else ALONE_BATCH_NETWORKS
        return Lane(device, profiler, self._request.plan, self._results, batch_networks=batch)

    def _produce(self, pool: WorkerPool, lanes: Sequence[Lane]) -> None:
        error: Exception | None = None
        try:
            self._feed(pool, {lane.device: lane for lane in lanes})
        except Exception as raised:
            error = raised
        for lane in lanes:
            lane.finish()
        self._results.put(Ended("producer", error))

    def _feed(self, pool: WorkerPool, lanes: dict[str, Lane]) -> None:
        for network in build_networks(pool, self._missing.networks()):
            takers = self._missing.devices(network.key)
            if isinstance(network, NotBuilt):
                self._results.put(Skipped(len(takers), failure=f"{network.key[0]}: {network.reason}"))
            elif self._sink.is_duplicate(network.record):
                self._results.put(Skipped(len(takers), duplicate=True))
            else:
                for device in takers:
                    lanes[device].add(network)

    def _store_results(self, *, threads: int) -> list[Exception]:
        """Store results until `threads` threads have ended; return what ended any of them too early."""
        errors: list[Exception] = []
        try:
            while threads:
                result = self._next_result()
                if isinstance(result, Ended):
                    threads -= 1
                    errors += [result.error] if result.error else []
                elif isinstance(result, Skipped):
                    self._sink.skip(result)
                elif result is not None:
                    self._sink.add(result)
                self._sink.tick()
        finally:
            self._sink.commit()
        return errors

    def _next_result(self) -> Measured | Skipped | Ended | None:
        try:
            return self._results.get(timeout=self._sink.due_s)
        except queue.Empty:
            return None
