"""How fast networks are built, measurements are stored, and a dataset is exported.

    python -m benchmarks.datasets [--postgres postgresql://USER@HOST/EMPTY_DATABASE] [--rows 1000000]

SQLite files are made in a temporary folder. Without --postgres, an installed server runs a throwaway cluster
there that waits for the disk as usual (fsync); a database that is named must be empty. Figures per second of
processor time leave out what other programs take, and also what the PostgreSQL server itself takes.
"""

from __future__ import annotations

import argparse
import hashlib
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import flatbuffers
import numpy as np
import tflite

from dataset.builder import Builder
from dataset.export import export_dataset
from dataset.importing import import_dataset
from dataset.records import Network
from dataset.spaces import get_space, space_names
from dataset.store import Store
from perfsage.device import Device
from perfsage.measurement import Measurement, Mode, Statistic
from perfsage.metrics import Metric
from tests.dataset import postgres

ROWS_PER_NETWORK = 30
BATCH_NETWORKS = 100


def mobile_network(seed: int, dtype: Literal["int8", "float32"]) -> Builder:
    """28 operators: a stem, eight inverted residuals, mean, dense layer, softmax."""
    b = Builder(dtype=dtype, seed=seed)
    x = b.conv(b.input((1, 32, 32, 3)), 16, stride=2, activation="relu6")
    for _ in range(8):
        y = b.depthwise(b.conv(x, 96, kernel=1, activation="relu6"), activation="relu6")
        x = b.conv(y, 16, kernel=1)
    b.output(b.softmax(b.fully_connected(b.mean(x), 10)))
    return b


class Clock:
    """Wall and processor time: their rates differ where other work shares the core."""

    def __init__(self) -> None:
        self.wall, self.cpu = time.perf_counter(), time.process_time()

    def rate(self, label: str, count: int, unit: str) -> None:
        wall, cpu = time.perf_counter() - self.wall, time.process_time() - self.cpu
        print(f"{label:<46} {count / wall:>10,.0f} {unit}/s  {count / cpu:>10,.0f} {unit}/CPU s", flush=True)


def building() -> None:
    for dtype in ("int8", "float32"):
        mobile_network(0, dtype).finish()
        clock = Clock()
        sizes = [len(mobile_network(seed, dtype).finish()) for seed in range(500)]
        clock.rate(f"build, 28 operators, {dtype} ({np.median(sizes) / 1e3:.0f} kB)", 500, "graphs")
    for name in space_names():
        space = get_space(name)
        clock = Clock()
        for seed in range(100):
            space.build(seed, "int8")
        clock.rate(f"build, space {name}, int8", 100, "graphs")


def flatbuffers_alone() -> None:
    """The tensor tables of one such network with flatbuffers.Builder, for comparison."""
    clock = Clock()
    for _ in range(50):
        b = flatbuffers.Builder(65536)
        for index in range(80):
            name, shape = (
                b.CreateString(f"conv_{index}"),
                b.CreateNumpyVector(np.array([1, 8, 8, 4], np.int32)),
            )
            tflite.TensorStart(b)
            tflite.TensorAddShape(b, shape)
            tflite.TensorAddType(b, tflite.TensorType.INT8)
            tflite.TensorAddBuffer(b, index)
            tflite.TensorAddName(b, name)
            tflite.TensorEnd(b)
    clock.rate("flatbuffers.Builder, 80 tensor tables only", 50, "graphs")


def digest(text: object) -> str:
    return hashlib.sha256(str(text).encode()).hexdigest()


def batches(rows: int) -> Iterator[tuple[list[Network], list[Measurement]]]:
    for start in range(0, rows // ROWS_PER_NETWORK, BATCH_NETWORKS):
        numbers = range(start, start + BATCH_NETWORKS)
        ids = {number: (digest(("m", number)), digest(("g", number))) for number in numbers}
        networks = [
            Network(
                model_id=ids[n][0], graph_id=ids[n][1], dtype="int8", operators=28, file_bytes=1, macs=n,
                space="kws", seed=n, family="ds_cnn", architecture="x" * 700,
            )
            for n in numbers
        ]  # fmt: skip
        yield networks, [
            Measurement(
                model_id=ids[n][0], graph_id=ids[n][1], device="npu", metric=Metric.LATENCY_MS,
                definition=f"part_{k}", mode=Mode.SIMULATED, statistic=Statistic.EXACT, tool="vela",
                tool_version="5.2.0", value=n / 7 + k, conditions={"clock_hz": 5e8, "memory": "Shared_Sram"},
            )
            for n in numbers
            for k in range(ROWS_PER_NETWORK)
        ]  # fmt: skip


def storing(label: str, target: str, rows: int) -> None:
    work = list(batches(rows))
    with Store.open(target) as store:
        store.add_device(Device(name="npu", kind="npu", description="", metrics={}))
        clock = Clock()
        for networks, measurements in work:
            store.add_outcomes(networks, measurements)
        clock.rate(f"insert, {label}", sum(len(m) for _, m in work), "rows")
        clock = Clock()
        done = store.done("npu")
        clock.rate(f"what is done, {label}", len(done), "networks")
        if "://" not in target:
            store.close()
            print(f"{'size, ' + label:<46} {Path(target).stat().st_size / len(done):>12,.0f} bytes/network")


def storing_postgres(target: str | None, rows: int) -> None:
    if target is not None:
        storing("PostgreSQL", target, rows)
    elif lacks := postgres.missing():
        print(f"left out: {lacks}")
    else:
        with postgres.cluster(durable=True) as server:
            storing("PostgreSQL", postgres.new_database(server), rows)


def exporting(target: str, folder: Path) -> None:
    with Store.open(target) as store:
        for kind in ("parquet", "csv"):
            clock = Clock()
            count = export_dataset(store, folder / kind, kind=kind)["measurements"]
            clock.rate(f"export, {kind}, {count:,} rows", count, "rows")
            size = sum(path.stat().st_size for path in (folder / kind).iterdir())
            print(f"{'size, ' + kind:<46} {size / 1e6:>12,.1f} MB")
        clock = Clock()
        clock.rate("frame", len(store.frame()), "rows")
    with Store.open(folder / "copy.db") as copy:
        clock = Clock()
        count = import_dataset(copy, folder / "parquet")["measurements"]
        clock.rate("import, parquet", count, "rows")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--postgres", help="URL of an empty database")
    parser.add_argument("--rows", type=int, default=1_000_000)
    arguments = parser.parse_args()
    building()
    flatbuffers_alone()
    with tempfile.TemporaryDirectory() as folder:
        storing("SQLite", f"{folder}/small.db", min(arguments.rows, 90_000))
        storing_postgres(arguments.postgres, min(arguments.rows, 90_000))
        storing("SQLite, all rows", f"{folder}/large.db", arguments.rows)
        exporting(f"{folder}/large.db", Path(folder))


if __name__ == "__main__":
    main()
