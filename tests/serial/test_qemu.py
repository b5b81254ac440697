"""Our firmware on QEMU's Cortex-M boards: exact outputs, exact counts, TFLM's memory plan.

Needs the packages of apt-packages.txt, and apt for the kernels' headers; skipped without them.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from dataset.builder import Builder
from perfsage.errors import StableDeviceError, TransientDeviceError
from perfsage.measurement import Mode
from perfsage.metrics import Metric
from profilers.profiler import Model, Plan
from profilers.serial import BoardSettings
from profilers.serial.board import SerialProfiler
from profilers.serial.boards import BOARDS
from profilers.serial.build import FIRMWARE, build_firmware
from profilers.serial.dut import Dut
from profilers.serial.emulate import EmulatedPort, start_qemu
from profilers.serial.errors import BoardCannotRunError
from profilers.serial.extension import Extension, TickUnit
from profilers.serial.inputs import random_input
from profilers.serial.link import Link
from profilers.serial.toolchain import build_lock, missing_tools
from profilers.testing import ProfilerConformance
from tests.profilers.networks import REAL, keyword_spotter, model, small

BOARD = "mps2-an386"
ROOT = Path(__file__).resolve().parents[2]
# apt-get "downloads" a file, dpkg unpacks a tree without headers, the last call of g++ links.
TOOL_OUTPUT = {
    "apt-get": "touch kernels.deb",
    "dpkg": "mkdir -p root/usr/include/tensorflow/lite",
    "arm-none-eabi-g++": "touch firmware.elf",
}
SLOW_BOARDS = sorted(set(BOARDS) - {BOARD})
REAL_NETWORKS = ("mlcommons_tiny__kws_ref_model", "SiliconLabs_mltk__fingerprint_signature_generator__9f2874")


# One worker runs these tests, so that a board is found not to be buildable once. That it is built once is the
# doing of the build's lock, whichever workers ask.
pytestmark = pytest.mark.xdist_group("qemu")


def firmware(board: str) -> Path:
    found = firmware_or_reason(board)
    return found if isinstance(found, Path) else pytest.skip(found)


@cache
def firmware_or_reason(board: str) -> Path | str:
    if missing := missing_tools():
        return f"not installed: {', '.join(missing)}"
    try:
        return build_firmware(board)
    except StableDeviceError as error:
        if "apt-get failed" in str(error):
            return f"the kernels' headers cannot be fetched: {error}"
        raise


@pytest.fixture(scope="module")
def qemu() -> Iterator[EmulatedPort]:
    firmware(BOARD)
    with start_qemu(BOARD) as port:
        yield port


def opened(port: EmulatedPort) -> Extension:
    link = Link(port.address)
    link.open()
    found = Extension.find(Dut(link))
    assert found is not None
    return found


@pytest.fixture
def board(qemu: EmulatedPort) -> Iterator[Extension]:
    extension = opened(qemu)
    yield extension
    extension.dut.channel.close()


def litert(data: bytes, values: bytes, *, reference: bool = True) -> bytes:
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    kinds = OpResolverType
    kind = kinds.BUILTIN_REF if reference else kinds.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    interpreter = Interpreter(model_content=data, experimental_op_resolver_type=kind)
    interpreter.allocate_tensors()
    (detail,) = interpreter.get_input_details()
    interpreter.set_tensor(detail["index"], np.frombuffer(values, detail["dtype"]).reshape(detail["shape"]))
    interpreter.invoke()
    output: bytes = interpreter.get_tensor(interpreter.get_output_details()[0]["index"]).tobytes()
    return output


def other_operators() -> Model:
    """The operators of the firmware that the keyword spotter has not."""
    b = Builder(dtype="int8", seed=11)
    x = b.conv(b.input((1, 12, 12, 4)), 8, kernel=(3, 3), activation="relu6")
    y = b.pad(b.depthwise(x, kernel=(3, 3), padding="valid"), ((0, 0), (1, 1), (1, 1), (0, 0)))
    x = b.max_pool(b.sub(b.add(x, y), b.relu(y)))
    x = b.mul(x, b.logistic(b.mean(x, keep_dims=True)))
    x = b.average_pool(b.concat([x, b.relu6(x)]))
    b.output(b.fully_connected(b.reshape(b.quantize(x), (1, 144)), 5))
    return model(b.finish())


def assert_exact(board: Extension, tested: Model, inputs: int = 1) -> None:
    """The outputs are LiteRT's, bit by bit, and the head of the arena is TFLM's."""
    from profilers.serial.virtual.engine import TflmEngine

    board.upload(tested.data)
    engine = TflmEngine(1 << 20)
    engine.build(tested.data)
    assert board.memory().arena_head == engine.arena["head"]
    for number in range(inputs):
        values = random_input(tested.graph, number)
        board.load(values)
        board.dut.infer(1, 0, 60.0)
        assert board.output(0) == litert(tested.data, values)


def test_once_built_nothing_is_built_again(monkeypatch: pytest.MonkeyPatch) -> None:
    built = firmware(BOARD)
    monkeypatch.setattr("profilers.serial.build.run_tool", None)
    assert build_firmware(BOARD) == built


def test_the_build_lock_has_a_time_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERFSAGE_CACHE", str(tmp_path))
    with build_lock(), pytest.raises(TransientDeviceError, match="another process"), build_lock(0.2):
        pass
    with build_lock(0.2):
        pass


def test_of_processes_that_ask_at_once_one_builds(tmp_path: Path) -> None:
    """The tools are stand-ins that count: what is tested is who calls them, not what they make."""
    for name in ("apt-get", "dpkg", "arm-none-eabi-gcc", "arm-none-eabi-g++"):
        tool = tmp_path / "bin" / name
        tool.parent.mkdir(exist_ok=True)
        tool.write_text(f"#!/bin/sh\necho {name} >> {tmp_path}/calls\n{TOOL_OUTPUT.get(name, '')}")
        tool.chmod(0o755)
    path = f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "PERFSAGE_CACHE": str(tmp_path / "cache")}
    words = [sys.executable, "-m", "profilers.serial.build", BOARD]
    started = [subprocess.Popen(words, env=environment, cwd=ROOT, stdout=subprocess.PIPE) for _ in range(3)]
    said = {process.communicate(timeout=60)[0] for process in started}
    assert len(said) == 1 and BOARD.encode() in said.pop()
    calls = (tmp_path / "calls").read_text().split()
    assert calls.count("apt-get") == 2 and calls.count("arm-none-eabi-g++") == 2


def test_what_the_board_says(board: Extension) -> None:
    info = board.info
    assert info.tick_unit is TickUnit.INSTRUCTIONS
    assert info.clock_hz == 25_000_000 and info.units_per_kilotick == 40_000
    assert info.code_bytes is not None and info.flash_bytes is not None and info.ram_bytes is not None
    assert info.code_bytes < info.flash_bytes
    assert {"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"} <= info.operators


def test_exact_with_litert_and_tflm(board: Extension) -> None:
    assert_exact(board, small(), inputs=3)
    assert_exact(board, keyword_spotter())
    assert_exact(board, other_operators())


@pytest.mark.parametrize("name", REAL_NETWORKS)
def test_real_networks_exact_with_litert_and_tflm(board: Extension, name: str) -> None:
    path = REAL / f"{name}.tflite"
    if not path.is_file():
        pytest.skip("the real networks are not here")
    assert_exact(board, model(path.read_bytes()))


def test_counts_repeat(board: Extension) -> None:
    board.upload(small().data)
    board.load(random_input(small().graph, 0))
    counts = []
    for _ in range(3):
        board.load(random_input(small().graph, 0))
        board.dut.infer(20, 0, 60.0)
        counts.append(board.ticks())
    assert max(counts) - min(counts) <= 1e-5 * max(counts)


def test_counts_repeat_over_restarts(qemu: EmulatedPort) -> None:
    counts = []
    for _ in range(2):
        with start_qemu(BOARD) as port:
            extension = opened(port)
            extension.upload(small().data)
            extension.load(random_input(small().graph, 0))
            extension.dut.infer(20, 0, 60.0)
            counts.append(extension.ticks())
            extension.dut.channel.close()
    assert abs(counts[0] - counts[1]) <= 1e-5 * counts[0]


def test_measures_as_a_device(qemu: EmulatedPort) -> None:
    settings = BoardSettings(
        name="serial:m4", address=qemu.address, window_s=0.01, inputs=2, cycles_per_instruction=1.5
    )
    profiler = SerialProfiler(settings)
    (outcome,) = profiler.profile([small()], Plan(timeout_s=60.0, per_operator=True))
    profiler.close()
    assert outcome.failure is None
    latency = outcome.measurements[0]
    assert latency.mode is Mode.SIMULATED
    assert "1.5 cycles an instruction at 25 MHz" in str(latency.conditions["assumption"])
    instructions = latency.conditions["instructions"]
    assert latency.value == pytest.approx(float(instructions) * 1.5 / 25e3, rel=1e-6)
    operators = [m for m in outcome.measurements if m.operator is not None]
    assert len(operators) == len(small().graph.subgraphs[0].operators)
    total_ms = sum(m.value or 0.0 for m in operators)
    assert latency.value is not None
    assert total_ms == pytest.approx(latency.value, rel=0.02)
    found = {m.definition: m.value for m in outcome.measurements if m.metric is Metric.PEAK_MEMORY_BYTES}
    assert found["arena_total"] == found["arena_head"] + found["arena_tail"]  # type: ignore[operator]
    assert found["stack"] is not None and 100 < found["stack"] < 1 << 16


def test_refusals_name_the_operator_and_the_next_model_runs(board: Extension) -> None:
    with pytest.raises(BoardCannotRunError) as caught:
        board.upload(small("float32").data)
    assert caught.value.operator == "CONV_2D"
    for share in (0.01, 0.5, 0.95):
        with pytest.raises(BoardCannotRunError, match="px-model"):
            board.upload(small().data[: int(len(small().data) * share)])
    assert_exact(board, small())


@pytest.mark.slow
class TestQemuBoard(ProfilerConformance):
    """A board on QEMU passes what every profiler must pass; every metric repeats exactly."""

    exact_metrics = frozenset(Metric) - {Metric.ENERGY_MJ}
    plan = Plan(timeout_s=120.0)
    port: EmulatedPort

    @classmethod
    def open(cls) -> SerialProfiler:
        settings = BoardSettings(name="serial:qemu", address=cls.port.address, window_s=0.01, inputs=1)
        return SerialProfiler(settings)

    @classmethod
    def make_models(cls) -> list[Model]:
        return [small(), small(seed=2)]

    @classmethod
    def make_float_model(cls) -> Model:
        return small("float32")

    @classmethod
    def setup_class(cls) -> None:
        firmware(BOARD)
        cls.port = start_qemu(BOARD)
        super().setup_class()

    @classmethod
    def teardown_class(cls) -> None:
        super().teardown_class()
        cls.port.close()


@pytest.mark.slow
@pytest.mark.parametrize("name", SLOW_BOARDS)
def test_other_cores(name: str) -> None:
    firmware(name)
    with start_qemu(name) as port:
        extension = opened(port)
        assert_exact(extension, small())
        assert_exact(extension, keyword_spotter())
        extension.dut.channel.close()


@pytest.mark.slow
def test_codec_on_this_machine(tmp_path: Path) -> None:
    """SHA-256, CRC-32 and base64 of the firmware, compiled for this machine, against Python's."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler")
    (tmp_path / "main.c").write_text(
        '#include <stdio.h>\n#include <string.h>\n#include "codec.h"\n'
        "int main(void){static uint8_t b[4096];char h[65];size_t n=fread(b,1,sizeof b,stdin);"
        'codec_sha256(b,(uint32_t)n,h);printf("%s %08x",h,codec_crc32(b,(uint32_t)n));}'
    )
    command = [
        compiler,
        "-Wall",
        "-Werror",
        f"-I{FIRMWARE}",
        "main.c",
        str(FIRMWARE / "codec.c"),
        "-o",
        "codec",
    ]
    subprocess.run(command, cwd=tmp_path, check=True, timeout=60)
    import hashlib
    import zlib

    for size in (0, 1, 55, 56, 63, 64, 65, 119, 120, 1000):
        data = os.urandom(size)
        said = subprocess.run(
            [tmp_path / "codec"], input=data, capture_output=True, check=True, timeout=60
        ).stdout
        assert said.decode() == f"{hashlib.sha256(data).hexdigest()} {zlib.crc32(data):08x}"
