"""How fast the service is: in process, over HTTP, from its cache, and when too much is asked of it.

python -m benchmarks.serve PREDICTOR [--seconds 5]
python -m benchmarks.serve PREDICTOR --soak 3600

The load generator is a second process on the same cores. Figures of a busy machine are to be trusted as
ratios within one run only: the first line says what one graph costs Vela here. With --soak, the service runs
for so many seconds at half of what it can do, and each tenth of them is a line with its memory and errors.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgpack

from benchmarks.predict import residual_network
from dataset.builder import Builder
from perfsage.graph import blank_weights, read_graph, strip_weights
from perfsage.predictor import load_predictor

BATCH = 256
OPERATORS = 100
SOAK_PARTS = 10
BATCH_CONNECTIONS = 4
WORKERS_START_SECONDS = 3.0


def variants(count: int) -> list[bytes]:
    """Return networks of about 100 operators that differ in their structure."""
    return [_variant(number) for number in range(count)]


def _variant(number: int) -> bytes:
    b = Builder(dtype="int8", seed=number)
    channels = 8 + 4 * (number % 8)
    x = b.conv(b.input((1, 24 + number // 8, 32, 3)), channels, stride=2, activation="relu6")
    while b.operator_count < OPERATORS - 3:
        y = b.depthwise(x, kernel=3, activation="relu6")
        x = b.add(x, b.conv(y, channels, kernel=1))
    b.output(b.softmax(b.fully_connected(b.mean(x), 10)))
    return b.finish()


def per_second(call: Callable[[], object], units: int, seconds: float) -> float:
    call()
    began, done = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        call()
        done += units
    return done / (time.perf_counter() - began)


class Service:
    """`perfsage serve` in a process of its own."""

    def __init__(self, predictor: Path, **settings: object) -> None:
        env = os.environ | {f"PERFSAGE_{name.upper()}": str(value) for name, value in settings.items()}
        program = [sys.executable, "-c", "from api.cli.main import main; main()"]
        command = [*program, "serve", "--port", "0", "--predictor", str(predictor)]
        began = time.perf_counter()
        self.process = subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True)
        assert self.process.stderr is not None
        for line in self.process.stderr:
            if found := re.search(r"running on http://(\S+)", line):
                self.address = found[1]
                break
        self.start_s = time.perf_counter() - began
        # Without a reader the log would fill its pipe and stop the service.
        subprocess.Popen(["cat"], stdin=self.process.stderr, stdout=subprocess.DEVNULL)

    def memory_mb(self) -> float:
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.findall(r"VmRSS:\s+(\d+)", text)[0]) / 1024

    def load(self, bodies: Path, **options: object) -> dict[str, Any]:
        command = [sys.executable, "-m", "benchmarks.serve_load", self.address, str(bodies)]
        for name, value in options.items():
            command += [f"--{name.replace('_', '-')}", str(value)]
        return dict(json.loads(subprocess.run(command, capture_output=True, check=True, text=True).stdout))

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait()


def write(folder: Path, name: str, bodies: list[bytes]) -> Path:
    target = folder / name
    target.mkdir()
    for number, body in enumerate(bodies):
        (target / f"{number:05d}").write_bytes(body)
    return target


def batch(structures: list[bytes]) -> bytes:
    models = [{"structure": structure} for structure in structures]
    packed: bytes = msgpack.packb({"models": models, "operators": False})
    return packed


def vela_ms(models: list[bytes]) -> float | None:
    """Return what Vela takes for its own estimate of one configuration, None where it is not installed."""
    try:
        from profilers.profiler import Model, Plan
        from profilers.registry import open_profiler

        profiler = open_profiler("ethos-u55-128")
    except Exception as error:
        print(f"Vela cannot be run here: {error}")
        return None
    prepared = [Model(data=data, graph=read_graph(data), path=None) for data in models]
    try:
        list(profiler.profile(prepared[:1], Plan()))
        began = time.perf_counter()
        list(profiler.profile(prepared, Plan()))
        return 1e3 * (time.perf_counter() - began) / len(prepared)
    finally:
        profiler.close()


def show(name: str, text: str) -> None:
    print(f"{name:52s} {text}", flush=True)


def in_process(predictor_path: Path, data: list[bytes], seconds: float) -> float:
    predictor = load_predictor(predictor_path)
    show("devices", str(len(predictor.devices)))
    shares = per_second(lambda: predictor.predict(data[:8]), 8, seconds)
    show("in process, .tflite, with operators' shares", f"{shares:8.0f} graphs/s")
    began = time.process_time()
    rate = per_second(lambda: predictor.predict(data[:8], operators=False), 8, seconds)
    busy = (time.process_time() - began) / seconds
    show("in process, .tflite, all devices and metrics", f"{rate:8.0f} graphs/s on {busy:.2f} cores")
    return rate


def engine_rate(predictor_path: Path, structures: list[bytes], seconds: float) -> float:
    """Bytes in, encoded answer out, as a worker thread of the service does it; nothing is remembered."""
    from api.rest.candidates import Wanted, from_bytes
    from api.rest.engine import Engine
    from api.rest.settings import Settings

    engine = Engine(load_predictor(predictor_path), Settings(cache_bytes=0), lambda _: None)
    choice = engine.choice((), (), operators=False, packed=True)
    models = [from_bytes(None, data) for data in structures]
    wanted = Wanted(models, [None] * len(models), (), (), operators=False)
    return per_second(lambda: engine.answer(wanted, choice), len(models), seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("predictor", type=Path)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--soak", type=float, default=0.0, help="only this: seconds at half load")
    arguments = parser.parse_args()
    seconds = arguments.seconds
    if arguments.soak:
        soak(arguments.predictor, seconds, arguments.soak)
        return
    data = variants(BATCH)
    structures = [strip_weights(model) for model in data]
    one = residual_network(OPERATORS)
    took = vela_ms(data[:5])
    rate = in_process(arguments.predictor, data, seconds)
    show(
        "in process, bytes to encoded answer",
        f"{engine_rate(arguments.predictor, structures, seconds):8.0f} graphs/s",
    )
    if took is not None:
        show("Vela, one configuration", f"{took:8.1f} ms a graph: {rate * took / 1e3:.0f} times as long")
    with tempfile.TemporaryDirectory() as name:
        over_http(arguments.predictor, Path(name), structures, blank_weights(one), seconds)


def soak(predictor: Path, seconds: float, duration: float) -> None:
    """Ask for half of what the service can do, for long; say whether memory grows and answers fail."""
    # The cache is too small for all of them, so that every request is predicted, kept and forgotten again.
    service = Service(predictor, cache_bytes=1 << 18)
    try:
        with tempfile.TemporaryDirectory() as name:
            bodies = [batch([strip_weights(model)]) for model in variants(BATCH)]
            single = write(Path(name), "single", bodies)
            able = service.load(single, seconds=seconds, connections=1)["requests_per_s"]
            show("what one connection gets", f"{able:8.0f} requests/s, {service.memory_mb():.0f} MB")
            memory, refused = [], 0
            for part in range(SOAK_PARTS):
                found = service.load(single, seconds=duration / SOAK_PARTS, connections=4, rate=able / 2)
                memory.append(service.memory_mb())
                refused += sum(count for status, count in found["statuses"].items() if status != "200")
                show(f"part {part + 1} of {SOAK_PARTS}", f"{_times(found)}, {memory[-1]:.1f} MB")
        show("after it", f"{memory[-1] - memory[0]:+.1f} MB since part 1, {refused} not answered with 200")
    finally:
        service.stop()


def over_http(predictor: Path, folder: Path, structures: list[bytes], one: bytes, seconds: float) -> None:
    batches = write(folder, "batches", [batch(structures)])
    single = write(folder, "single", [batch([structure]) for structure in structures])
    repeated = write(folder, "repeated", [batch([one])])
    hashed = msgpack.packb({"models": [{"space": "kws", "seed": 3}], "operators": False})
    named = write(folder, "named", [hashed])
    cold = Service(predictor, cache_bytes=0)
    try:
        show("start to listening", f"{cold.start_s:8.2f} s, {cold.memory_mb():.0f} MB resident")
        found = cold.load(batches, seconds=seconds, connections=2, models=BATCH)
        show(
            "HTTP, batches of 256 structures, no cache",
            f"{found['models_per_s']:8.0f} graphs/s {found['statuses']}",
        )
        show("  resident memory", f"{cold.memory_mb():8.0f} MB")
        alone = cold.load(single, seconds=seconds, connections=1)
        show("HTTP, one structure at a time, no cache", _times(alone))
        overload(cold, single, alone, seconds)
    finally:
        cold.stop()
    both = Service(predictor, cache_bytes=0, workers=2)
    try:
        time.sleep(WORKERS_START_SECONDS)
        found = both.load(batches, seconds=2 * seconds, connections=BATCH_CONNECTIONS, models=BATCH)
        rate = f"{found['models_per_s']:8.0f} graphs/s {found['statuses']}"
        show(f"the same from 2 workers, {BATCH_CONNECTIONS} connections", rate)
    finally:
        both.stop()
    warm = Service(predictor)
    try:
        found = warm.load(repeated, seconds=seconds, connections=4)
        show("HTTP, a repeated structure (cache)", _times(found))
        found = warm.load(named, seconds=seconds, connections=4)
        show("HTTP, a repeated architecture (cache)", _times(found))
        warm.load(batches, seconds=1, connections=1, models=BATCH)
        found = warm.load(batches, seconds=seconds, connections=1, models=BATCH)
        show(
            "HTTP, repeated batches of 256 (cache)",
            f"{found['models_per_s']:8.0f} queries/s {found['statuses']}",
        )
    finally:
        warm.stop()


def overload(service: Service, single: Path, alone: dict[str, Any], seconds: float) -> None:
    """Ask for ten times as much as the service can do, and then for little again."""
    half = service.load(single, seconds=seconds, connections=4, rate=alone["requests_per_s"] / 2)
    show("half load", _times(half))
    flood = service.load(single, seconds=2 * seconds, connections=200, rate=10 * alone["requests_per_s"])
    ratio = flood["p99_ms"] / half["p99_ms"]
    show(
        "ten times as much",
        f"{_times(flood)}, sent {flood['sent_per_s']:.0f}/s: p99 {ratio:.1f} x half load's",
    )
    after = service.load(single, seconds=seconds, connections=1)
    show("after it", _times(after))


def _times(found: dict[str, Any]) -> str:
    times = f"p50 {found['p50_ms']:.1f} ms, p99 {found['p99_ms']:.1f} ms" if found["p50_ms"] else ""
    return f"{found['requests_per_s']:8.0f} requests/s, {times}, {found['statuses']}"


if __name__ == "__main__":
    main()
