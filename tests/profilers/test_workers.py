"""Worker processes: whatever a job does to its process costs that job alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from perfsage.errors import StableDeviceError
from profilers.workers import Job, Reply, WorkerPool


def job(task: str, **arguments: object) -> Job:
    return Job(tool="Tool", task=f"tests.profilers.misbehaviour:{task}", arguments=arguments)


@pytest.fixture(scope="module")
def pool() -> Iterator[WorkerPool]:
    with WorkerPool(1) as pool:
        yield pool


def value(reply: Reply) -> dict[str, object]:
    assert reply.value is not None, reply
    return reply.value


def test_answers(pool: WorkerPool) -> None:
    reply = pool.run(
        Job(tool="Tool", task=job("echo").task, data=b"x" * 3_000_000, arguments={"a": [1, "ü"]})
    )
    assert value(reply)["length"] == 3_000_000
    assert value(reply)["a"] == [1, "ü"]


def test_keeps_its_process(pool: WorkerPool) -> None:
    first, second = (value(pool.run(job("echo")))["process"] for _ in range(2))
    assert first == second != os.getpid()


@pytest.mark.parametrize(
    ("task", "reason"),
    [
        ("segfault", "Tool crashed with SIGSEGV"),
        ("abort", "Tool crashed with SIGABRT: Check failed: everything"),
        ("stop", "Tool ended with exit status 3"),
        ("fail", "Tool failed: ValueError: not today"),
    ],
)
def test_a_crash_costs_one_job(pool: WorkerPool, task: str, reason: str) -> None:
    assert pool.run(job(task)).failure == reason
    assert value(pool.run(job("echo")))


def test_a_crash_that_may_be_another_job_s_doing_is_tried_again() -> None:
    with WorkerPool(1) as pool:
        assert all(value(pool.run(job("crash_in_a_used_process")))["survived"] for _ in range(3))


def test_refusing_is_not_failing(pool: WorkerPool) -> None:
    assert pool.run(job("refuse")) == Reply(unsupported="not this model")


def test_a_hang_is_cut_short(pool: WorkerPool) -> None:
    hanging = Job(tool="Tool", task=job("hang_with_the_gil").task, timeout_s=0.3)
    begin = time.monotonic()
    assert pool.run(hanging).failure == "Tool did not finish within 0.3 s"
    assert time.monotonic() - begin < 30
    assert value(pool.run(job("echo")))


def test_memory_is_limited(pool: WorkerPool) -> None:
    greedy = job("eat_memory", bytes=1 << 30)
    limited = Job(tool="Tool", task=greedy.task, arguments=greedy.arguments, memory_limit_bytes=256 << 20)
    assert pool.run(limited).failure == "Tool ran out of memory (limit 256 MiB)"
    assert value(pool.run(job("eat_memory", bytes=1000)))["length"] == 1000


def test_endless_output_is_cut_off(pool: WorkerPool) -> None:
    assert "Tool failed: OSError" in str(pool.run(job("flood_output")).failure)
    assert value(pool.run(job("echo")))


def test_interrupting_the_terminal_does_not_reach_a_worker(pool: WorkerPool) -> None:
    assert value(pool.run(job("interrupt")))["survived"]


def test_an_answer_that_is_not_json_fails(pool: WorkerPool) -> None:
    assert "Tool" in str(pool.run(job("answer_with_nonsense")).failure)
    assert value(pool.run(job("echo")))


def test_an_unknown_task_fails_with_its_name(pool: WorkerPool) -> None:
    reply = pool.run(Job(tool="Tool", task="profilers.no_such_module:run"))
    assert "no_such_module" in str(reply.failure)


def test_map_keeps_order_over_crashes() -> None:
    tasks = ["echo", "segfault", "echo", "abort", "echo", "fail", "echo"]
    with WorkerPool(2) as pool:
        replies = list(pool.map(job, tasks))
    assert [task for task, _ in replies] == tasks
    assert [reply.value is not None for _, reply in replies] == [task == "echo" for task in tasks]


def test_map_can_be_left_early() -> None:
    with WorkerPool(1) as pool:
        for number, _ in enumerate(pool.map(lambda n: job("echo", n=n), range(1000))):
            if number == 3:
                break
        assert value(pool.run(job("echo")))


def test_workers_are_renewed_after_a_number_of_jobs() -> None:
    with WorkerPool(1, jobs_per_worker=2) as pool:
        processes = [value(pool.run(job("echo")))["process"] for _ in range(4)]
    assert processes[0] == processes[1] != processes[2] == processes[3]


def test_threads_share_a_pool() -> None:
    results: list[dict[str, object]] = []

    def work(pool: WorkerPool, n: int) -> None:
        results.append(value(pool.run(job("echo", n=n))))

    with WorkerPool(2) as pool:
        threads = [threading.Thread(target=work, args=(pool, n)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(int(str(result["n"])) for result in results) == list(range(8))
    assert len({result["process"] for result in results}) <= 2


def test_a_closed_pool_says_so() -> None:
    pool = WorkerPool(1)
    pool.close()
    pool.close()
    with pytest.raises(StableDeviceError, match="closed"):
        pool.submit(job("echo"))


def test_workers_are_pinned() -> None:
    cpu = min(os.sched_getaffinity(0))
    with WorkerPool(1, cpus=[(cpu,)]) as pool:
        process = int(str(value(pool.run(job("echo")))["process"]))
        assert os.sched_getaffinity(process) == {cpu}


PARENT = """
import sys, threading, time
from profilers.workers import Job, WorkerPool
pool = WorkerPool(1)
task = "tests.profilers.misbehaviour:"
print(pool.run(Job(tool="Tool", task=task + "echo")).value["process"], flush=True)
pool.submit(Job(tool="Tool", task=task + "hang_with_the_gil"))
time.sleep(600)
"""


def test_no_orphan_outlives_a_killed_parent() -> None:
    root = Path(__file__).resolve().parents[2]
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True, cwd=root)
    assert parent.stdout is not None
    worker = int(parent.stdout.readline())
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    deadline = time.monotonic() + 10
    while _running(worker) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not _running(worker)


def _running(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"
