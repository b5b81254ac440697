"""The upload extension (`px` commands, docs/serial-protocol.md): models over the wire, memory, ticks."""

from __future__ import annotations

import hashlib
import re
import time
import zlib
from base64 import b64encode
from dataclasses import dataclass
from enum import StrEnum

from perfsage.errors import StableDeviceError
from profilers.serial.dut import TRIES, Dut
from profilers.serial.errors import (
    BoardCannotRunError,
    BoardRefusedError,
    DeviationError,
    LineError,
    PortGoneError,
    RebootedError,
)
from profilers.serial.link import Reply

VERSION = 1
BUILD_TIMEOUT_S = 60.0
UPLOAD_TIMEOUT_S = 3600.0


class TickUnit(StrEnum):
    """What a board's ticks count."""

    CYCLES = "cycles"
    INSTRUCTIONS = "instructions"
    NANOSECONDS = "nanoseconds"


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardInfo:
    """What a board with the extension says about itself; sizes are None where it does not know."""

    board: str
    engine: str
    tick_unit: TickUnit
    units_per_kilotick: int
    clock_hz: int | None
    command_chars: int
    model_max_bytes: int
    arena_max_bytes: int
    input_max_bytes: int
    ram_bytes: int | None
    flash_bytes: int | None
    code_bytes: int | None
    operators: frozenset[str]
    """Empty where the board does not list them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardMemory:
    """Memory that the loaded model takes, in bytes; None where the firmware does not know."""

    arena: int
    arena_head: int | None
    arena_tail: int | None
    stack: int | None


@dataclass(frozen=True, slots=True)
class OperatorTicks:
    """Ticks of one operator in one inference."""

    subgraph: int
    index: int
    ticks: int


class Extension:
    """The `px` commands of a board that knows them."""

    def __init__(self, dut: Dut, info: BoardInfo) -> None:
        self.dut = dut
        self.info = info
        dut.channel.command_chars = max(dut.channel.command_chars, info.command_chars)

    @classmethod
    def find(cls, dut: Dut) -> Extension | None:
        """Ask whether the board knows the extension; None for firmware that only speaks MLPerf Tiny."""
        try:
            reply = dut.retried("px info", r"m-px-version-\d+", 5.0)
        except BoardRefusedError:
            return None
        version = reply.find(r"m-px-version-(\d+)")
        if version is None or int(version[1]) != VERSION:
            return None
        return cls(dut, _board_info(dut, reply))

    @property
    def load_bytes(self) -> int:
        """Bytes that one `db` command can carry."""
        return max(1, (self.info.command_chars - 8) // 2)

    def upload(self, model: bytes, timeout_s: float = UPLOAD_TIMEOUT_S) -> None:
        """Send a model and have the board build it.

        Resumes where the board lost bytes. BoardCannotRunError when it is too large or holds an operator
        that the board has not; LineError when the line stays too bad.
        """
        if len(model) > self.info.model_max_bytes:
            raise self._cannot_run(
                f"the model has {len(model)} bytes, the board takes {self.info.model_max_bytes}", None
            )
        digest, deadline = hashlib.sha256(model).hexdigest(), time.monotonic() + timeout_s
        for attempt in range(TRIES):
            try:
                self._send(model, digest, deadline)
                return self._build(digest)
            except (PortGoneError, RebootedError):
                raise
            except LineError:
                if attempt == TRIES - 1:
                    raise
                self.dut.channel.resync()

    def _send(self, model: bytes, digest: str, deadline: float) -> None:
        chunk_bytes = (self.info.command_chars - 40) // 4 * 3
        offset = self._offset(f"px begin {len(model)} {digest}")
        failures = 0
        while offset < len(model):
            if time.monotonic() > deadline:
                raise self._too_slow(offset, len(model))
            chunk = model[offset : offset + chunk_bytes]
            text = f"px put {offset} {zlib.crc32(chunk):08x} {b64encode(chunk).decode()}"
            try:
                offset = self._offset(text)
            except (PortGoneError, RebootedError):
                raise
            except LineError:
                failures += 1
                if failures > 3 * TRIES:
                    raise
                self.dut.channel.resync()
                offset = self._offset(f"px begin {len(model)} {digest}")

    def _offset(self, text: str) -> int:
        """Send `begin` or `put` and return how many bytes of the model the board has."""
        reply = self.dut.channel.command(text, timeout_s=5.0)
        if (found := reply.find(r"m-px-at-(\d+)")) is not None:
            return int(found[1])
        too_large = reply.find(r"e-\[(px-size .*)\]")
        if too_large is not None:
            raise self._cannot_run(too_large[1], None)
        raise self.dut.deviation(reply, "the chunk was not taken")

    def _build(self, digest: str) -> None:
        reply = self.dut.channel.command("px end", timeout_s=BUILD_TIMEOUT_S)
        if (found := reply.find(r"m-px-model-\[([0-9a-f]+)\]")) is not None and digest.startswith(found[1]):
            return
        if reply.find(r"e-\[px-hash") is not None:
            raise self.dut.deviation(reply, "the model arrived damaged: its hash is another")
        if reply.refusal is None:
            raise self.dut.deviation(reply, "nothing about the model came")
        missing = re.match(r"px-operator (\S+)(.*)", reply.refusal)
        raise self._cannot_run(reply.refusal, missing[1] if missing else None)

    def memory(self) -> BoardMemory:
        """Return the memory of the loaded model."""
        reply = self.dut.retried("px memory", r"m-px-arena-bytes-\d+", 5.0)
        values = _numbers(reply)
        return BoardMemory(
            arena=values["arena-bytes"],
            arena_head=values.get("arena-head-bytes"),
            arena_tail=values.get("arena-tail-bytes"),
            stack=values.get("stack-bytes"),
        )

    def load(self, data: bytes) -> None:
        """Fill the inputs, and see by checksum that they arrived."""
        for _ in range(TRIES):
            self.dut.load(data, self.load_bytes)
            crc = self.dut.ask("px crc", r"m-px-crc-([0-9a-f]{8})")
            if int(crc[1], 16) == zlib.crc32(data):
                return
        raise DeviationError(
            f"the input arrived damaged {TRIES} times",
            where=self.dut.channel.name,
            hint="Lower the baud rate, or check the cable.",
        )

    def ticks(self) -> int:
        """Return the ticks of the last window."""
        return int(self.dut.ask("px ticks", r"m-px-ticks-(\d+)")[1])

    def operator_ticks(self, timeout_s: float) -> tuple[OperatorTicks, ...] | None:
        """Run one inference and return the ticks of each operator; None when the engine cannot tell."""
        reply = self.dut.channel.command("px ops", timeout_s=timeout_s)
        found = reply.find_all(r"m-px-op-(\d+)-(\d+)-(\d+)$")
        if not found and reply.refusal is None:
            raise self.dut.deviation(reply, "no operators came")
        return tuple(OperatorTicks(int(m[1]), int(m[2]), int(m[3])) for m in found) or None

    def output(self, index: int) -> bytes:
        """Return the raw bytes of an output tensor after an inference."""
        reply = self.dut.retried(f"px output {index}", r"m-px-output-bytes-\d+", 30.0)
        expected = reply.find(r"m-px-output-bytes-(\d+)")
        data = bytes.fromhex("".join(m[1] for m in reply.find_all(r"m-px-out-((?:[0-9a-f]{2})+)$")))
        if expected is None or len(data) != int(expected[1]):
            raise self.dut.deviation(reply, f"{len(data)} bytes of the output came")
        return data

    def _too_slow(self, sent: int, size: int) -> StableDeviceError:
        return StableDeviceError(
            f"the time was up when {sent} of the model's {size} bytes were sent",
            where=self.dut.channel.name,
            hint="Set timeout_s for this board in lab.toml, or raise the baud rate.",
        )

    def _cannot_run(self, reason: str, operator: str | None) -> BoardCannotRunError:
        return BoardCannotRunError(
            reason,
            operator=operator,
            where=self.dut.channel.name,
            hint="Use a model with other operators or less memory, or another board.",
        )


def _numbers(reply: Reply) -> dict[str, int]:
    return {m[1]: int(m[2]) for m in reply.find_all(r"m-px-([a-z-]+)-(\d+)$")}


def _board_info(dut: Dut, reply: Reply) -> BoardInfo:
    values, texts = _numbers(reply), {m[1]: m[2] for m in reply.find_all(r"m-px-([a-z]+)-\[(.*)\]$")}
    operators = {
        name for m in reply.find_all(r"m-px-operators-\[(.*)\]$") for name in m[1].split(",") if name
    }
    try:
        return BoardInfo(
            board=texts["board"],
            engine=texts["engine"],
            tick_unit=TickUnit(texts["tick"]),
            units_per_kilotick=values["units-per-kilotick"],
            clock_hz=values.get("clock-hz"),
            command_chars=min(max(values["command-chars"], 80), 1 << 16),
            model_max_bytes=values["model-max-bytes"],
            arena_max_bytes=values["arena-max-bytes"],
            input_max_bytes=values["input-max-bytes"],
            ram_bytes=values.get("ram-bytes"),
            flash_bytes=values.get("flash-bytes"),
            code_bytes=values.get("code-bytes"),
            operators=frozenset(operators),
        )
    except (KeyError, ValueError) as error:
        raise dut.deviation(reply, f"px info lacks or garbles {error}") from None
