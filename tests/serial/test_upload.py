"""Uploading models to the virtual board: resumed, hashed, refused with the operator's name."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
import pytest

from profilers.serial.dut import Dut
from profilers.serial.emulate import EmulatedPort, start_tflm
from profilers.serial.errors import BoardCannotRunError
from profilers.serial.extension import Extension, TickUnit
from profilers.serial.inputs import random_input
from profilers.serial.link import Link
from tests.profilers.networks import keyword_spotter, small
from tests.serial.peers import Between

MODEL = small()
LARGE = keyword_spotter()


@pytest.fixture
def wire(board: EmulatedPort) -> Iterator[Between]:
    peer = Between(board.address)
    peer.start()
    yield peer
    peer.close()


@pytest.fixture
def extension(wire: Between) -> Iterator[Extension]:
    link = Link(wire.path)
    link.open()
    found = Extension.find(Dut(link))
    assert found is not None
    yield found
    link.close()


def tflm(data: bytes, arena_bytes: int = 1 << 20):  # type: ignore[no-untyped-def]
    from profilers.serial.virtual.engine import TflmEngine

    engine = TflmEngine(arena_bytes)
    engine.build(data)
    return engine


def test_what_the_board_says(extension: Extension) -> None:
    info = extension.info
    assert info.engine.startswith("tflm ")
    assert info.tick_unit is TickUnit.NANOSECONDS
    assert info.arena_max_bytes == 1 << 20


def test_output_and_arena_are_tflms(extension: Extension) -> None:
    model = keyword_spotter()
    extension.upload(model.data)
    data = random_input(model.graph, 3)
    extension.load(data)
    extension.dut.infer(1, 0, 30.0)
    engine = tflm(model.data)
    engine.set_inputs(data)
    engine.invoke()
    assert extension.output(0) == engine.output(0)
    memory = extension.memory()
    assert (memory.arena, memory.arena_head, memory.arena_tail) == (
        engine.arena["total"],
        engine.arena["head"],
        engine.arena["tail"],
    )
    assert extension.dut.results() == pytest.approx(np.round(engine.results(), 3), abs=1e-9)


def test_lost_and_damaged_chunks_are_sent_again(extension: Extension, wire: Between) -> None:
    puts = 0

    def spoil(data: bytes) -> bytes:
        nonlocal puts
        if data.startswith(b"px put"):
            puts += 1
            if puts == 2:
                return data[:40] + data[41:]
            if puts == 3:
                return data[:50] + b"A" + data[51:]
        return data

    extension.dut.channel.command("px begin 9000 " + "a" * 64)
    wire.to_board = spoil
    extension.upload(LARGE.data)
    assert puts > -(-len(LARGE.data) // 3042)
    assert extension.memory().arena > 0


def test_an_upload_goes_on_where_it_stopped(extension: Extension, wire: Between) -> None:
    extension.dut.channel.command("px begin 9000 " + "a" * 64)
    offsets: list[int] = []

    def watch(data: bytes) -> bytes:
        if found := re.match(rb"px put (\d+) ", data):
            offsets.append(int(found[1]))
            if len(offsets) == 2:
                return b""
        return data

    wire.to_board = watch
    extension.upload(LARGE.data)
    assert offsets[0] == 0
    assert offsets.count(0) == 1
    assert offsets[1] == offsets[2]


def test_a_hash_mismatch_sends_all_again(extension: Extension, wire: Between) -> None:
    begins = 0

    def forge(data: bytes) -> bytes:
        nonlocal begins
        if data.startswith(b"px begin"):
            begins += 1
            if begins == 1:
                return re.sub(rb"[0-9a-f]{64}", b"0" * 64, data)
        return data

    wire.to_board = forge
    extension.upload(MODEL.data)
    assert begins == 2


def test_oversize_uploads_are_refused(extension: Extension) -> None:
    with pytest.raises(BoardCannotRunError, match="bytes, the board takes"):
        extension.upload(bytes(extension.info.model_max_bytes + 1))
    reply = extension.dut.channel.command("px begin 999999999 " + "a" * 64)
    assert reply.refusal is not None and reply.refusal.startswith("px-size")
    extension.upload(MODEL.data)


def test_a_damaged_model_is_refused_and_the_next_one_runs(extension: Extension) -> None:
    with pytest.raises(BoardCannotRunError):
        extension.upload(MODEL.data[:2000])
    extension.upload(MODEL.data)
    assert extension.dut.infer(1, 0, 30.0).window_us is not None


def test_an_unsupported_operator_comes_back_by_name(extension: Extension) -> None:
    from dataset.builder import Builder

    b = Builder(dtype="float32", seed=1)
    x = b.conv(b.input((1, 8, 8, 3)), 8, kernel=(3, 3))
    b.output(b.softmax(b.fully_connected(b.mean(x), 4)))
    data = bytearray(b.finish())
    import tflite

    code = tflite.Model.GetRootAsModel(bytes(data), 0)
    for index in range(code.OperatorCodesLength()):
        table = code.OperatorCodes(index)._tab
        for slot in (4, 10):
            offset = table.Offset(slot)
            if offset and data[table.Pos + offset] == tflite.BuiltinOperator.SOFTMAX:
                data[table.Pos + offset] = tflite.BuiltinOperator.LSH_PROJECTION
    with pytest.raises(BoardCannotRunError) as caught:
        extension.upload(bytes(data))
    assert caught.value.operator is not None
    assert "LSH_PROJECTION" in str(caught.value)


def test_too_small_an_arena_is_named() -> None:
    with start_tflm(arena_bytes=12_000) as port:
        link = Link(port.address)
        link.open()
        found = Extension.find(Dut(link))
        assert found is not None
        with pytest.raises(BoardCannotRunError, match="px-arena"):
            found.upload(LARGE.data)
        link.close()


def test_firmware_without_the_extension() -> None:
    with start_tflm(extension=False) as port:
        link = Link(port.address)
        link.open()
        assert Extension.find(Dut(link)) is None
        link.close()
