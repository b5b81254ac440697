"""The four reference networks of MLPerf Tiny: their inputs, their rules, and their data sets.

Rules: mlcommons/tiny, benchmark/MLPerfTiny_Rules (10 s and 10 inferences a window, 5 inputs, medians).
Data sets: a folder with `y_labels.csv` (file, classes, class; for anomaly detection also the bytes of a
window and its stride) and the files that it names, as EEMBC's energyrunner laid them out.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from perfsage.errors import InvalidInputError
from perfsage.graph import Graph

MAX_LABELS = 100_000
MAX_FILE_BYTES = 16 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Benchmark:
    """One reference network; `encoding` is how its data files encode the input."""

    model: str
    """What firmware calls it."""
    name: str
    """Its folder in a submission."""
    files: tuple[str, ...]
    """Usual names of the .tflite file."""
    elements: int
    encoding: str
    """`int8`: the tensor itself; `uint8`: pixels, 128 above it; `float32`: to be quantized."""
    warmups: int

    @property
    def file_bytes(self) -> int:
        """Bytes of one input as the data files and reference firmware hold it."""
        return self.elements * (4 if self.encoding == "float32" else 1)


BENCHMARKS = (
    Benchmark(
        model="ad01",
        name="ad",
        files=("ad01.tflite", "ad01_int8.tflite"),
        elements=640,
        encoding="float32",
        warmups=10,
    ),
    Benchmark(
        model="ic01",
        name="ic",
        files=("ic01.tflite", "pretrainedResnet_quant.tflite"),
        elements=3072,
        encoding="uint8",
        warmups=10,
    ),
    Benchmark(
        model="kws01",
        name="kws",
        files=("kws01.tflite", "kws_ref_model.tflite"),
        elements=490,
        encoding="int8",
        warmups=10,
    ),
    Benchmark(
        model="vww01",
        name="vww",
        files=("vww01.tflite", "vww_96_int8.tflite"),
        elements=27648,
        encoding="uint8",
        warmups=5,
    ),
)


@dataclass(frozen=True, slots=True)
class Stimulus:
    """One input with its truth; anomaly detection cuts a file into several windows of the same name."""

    file: str
    classes: int
    label: int
    data: bytes


def find_benchmark(model: str) -> Benchmark | None:
    """Return the benchmark that firmware calls `model`, or whose folder is so called."""
    return next((b for b in BENCHMARKS if model in (b.model, b.name)), None)


def find_model(benchmark: Benchmark, folder: Path) -> Path | None:
    """Return the benchmark's .tflite file in a folder, by its usual names or with something before them."""
    for wanted in benchmark.files:
        found = [folder / wanted] if (folder / wanted).is_file() else sorted(folder.glob(f"*_{wanted}"))
        if found:
            return found[0]
    return None


def random_stimulus(benchmark: Benchmark, number: int) -> Stimulus:
    """Return an input for runs without a data set, the same each time for the same number."""
    generator = np.random.default_rng(number)
    if benchmark.encoding == "float32":
        data = generator.standard_normal(benchmark.elements).astype("<f4").tobytes()
    else:
        data = generator.bytes(benchmark.elements)
    return Stimulus(f"random-{number}", 0, 0, data)


def read_stimuli(benchmark: Benchmark, folder: Path) -> Iterator[Stimulus]:
    """Yield the data set's inputs in the order of its labels."""
    labels = folder / "y_labels.csv"
    if not labels.is_file():
        raise InvalidInputError(
            "the data set has no y_labels.csv", where=str(folder), hint="docs/serial.md shows its layout."
        )
    with labels.open(newline="", encoding="utf-8") as file:
        for number, row in enumerate(csv.reader(file, skipinitialspace=True)):
            if number >= MAX_LABELS:
                raise InvalidInputError(f"more than {MAX_LABELS} labels", where=str(labels))
            if row:
                yield from _row_stimuli(benchmark, folder, row, f"{labels} line {number + 1}")


def _row_stimuli(benchmark: Benchmark, folder: Path, row: list[str], where: str) -> Iterator[Stimulus]:
    try:
        name, classes, label, *window = row[0], int(row[1]), int(row[2]), *map(int, row[3:5])
    except (IndexError, ValueError):
        raise InvalidInputError(f"{row!r} is not: file, classes, class", where=where) from None
    path = folder / name
    if Path(name).name != name or not path.is_file() or path.stat().st_size > MAX_FILE_BYTES:
        raise InvalidInputError(f"the file {name!r} is not in the data set, or too large", where=where)
    data = path.read_bytes()
    size, stride = (window[0], window[1]) if len(window) == 2 else (len(data), max(len(data), 1))
    if size != benchmark.file_bytes or stride <= 0:
        raise InvalidInputError(
            f"{name} gives inputs of {size} bytes, {benchmark.model} takes {benchmark.file_bytes}",
            where=where,
        )
    for start in range(0, len(data) - size + 1, stride):
        yield Stimulus(name, classes, label, data[start : start + size])


def tensor_bytes(benchmark: Benchmark, data: bytes, graph: Graph) -> bytes:
    """Return the network's input tensor for a stimulus, as reference firmware makes it on the board."""
    tensor = graph.subgraphs[0].tensors[graph.subgraphs[0].inputs[0]]
    if tensor.type == "FLOAT32" and benchmark.encoding == "float32":
        return data
    if tensor.type != "INT8" or tensor.bytes != benchmark.elements:
        raise InvalidInputError(
            f"{benchmark.model} takes {benchmark.elements} int8 values, not {tensor.type} {tensor.shape}",
            where="model",
        )
    if benchmark.encoding == "int8":
        return data
    if benchmark.encoding == "uint8":
        return (np.frombuffer(data, np.uint8) ^ 0x80).tobytes()
    assert tensor.quantization is not None
    scaled = np.frombuffer(data, "<f4") / tensor.quantization.scale[0] + tensor.quantization.zero_point[0]
    return np.clip(np.round(scaled), -128, 127).astype(np.int8).tobytes()


def anomaly_score(output: bytes, tensor_input: bytes, graph: Graph) -> float:
    """Return the mean squared error of an autoencoder's int8 output against its input, dequantized."""
    subgraph = graph.subgraphs[0]
    values = []
    for index, data in ((subgraph.outputs[0], output), (subgraph.inputs[0], tensor_input)):
        quantization = subgraph.tensors[index].quantization
        assert quantization is not None
        integers = np.frombuffer(data, np.int8).astype(np.float64)
        values.append((integers - quantization.zero_point[0]) * quantization.scale[0])
    return float(np.mean((values[0] - values[1]) ** 2))
