"""The firmware of the virtual board: answers as the reference firmware and the extension do."""

from __future__ import annotations

import hashlib
import time
import zlib
from base64 import b64decode
from collections.abc import Callable
from dataclasses import dataclass

from profilers.serial.virtual.engine import EngineError, TflmEngine

COMMAND_CHARS = 4096
INPUT_MAX_BYTES = 1 << 20
OUTPUT_LINE_BYTES = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardSettings:
    """What the virtual board pretends to be."""

    name: str = "perfsage-tflm"
    energy_mode: bool = False
    extension: bool = True
    arena_bytes: int = 1 << 20
    model_max_bytes: int = 8 << 20
    model_name: str = "none"


class Firmware:
    """One booted board. `write` sends bytes to the host, `edge` pulls the timestamp pin low and up again."""

    def __init__(
        self,
        settings: BoardSettings,
        engine: TflmEngine,
        write: Callable[[bytes], None],
        edge: Callable[[], None],
    ) -> None:
        self.settings = settings
        self.engine = engine
        self.write = write
        self.edge = edge
        self._command = bytearray()
        self._expected = 0
        self._buffer = bytearray()
        self._model = bytearray()
        self._model_bytes = 0
        self._model_hash = ""
        self._ticks = 0

    def boot(self) -> None:
        """Print the banner."""
        self.say(f"m-timestamp-mode-{'energy' if self.settings.energy_mode else 'performance'}")
        if not self.settings.energy_mode:
            self.timestamp()
        self.say("m-init-done")
        self.say("m-ready")

    def feed(self, data: bytes) -> None:
        """Take bytes from the host, and run every command that they complete."""
        limit = COMMAND_CHARS if self.settings.extension else 80
        for byte in data:
            if byte == ord("%"):
                command = bytes(self._command).decode("ascii", "replace")
                self._command.clear()
                self.run(command)
            elif len(self._command) < limit:
                self._command.append(byte)

    def run(self, command: str) -> None:
        """Run one command and say m-ready."""
        words = command.split(" ")
        handler = HANDLERS.get(words[0])
        if handler is None or (words[0] == "px" and not self.settings.extension):
            self.say(f"e-[Unknown command: {words[0]}]")
        else:
            handler(self, words[1:])
        self.say("m-ready")

    def say(self, line: str) -> None:
        """Print one line."""
        self.write(line.encode("ascii", "replace") + b"\r\n")

    def timestamp(self) -> None:
        """Tell the time: a line, or an edge on the pin."""
        if self.settings.energy_mode:
            self.edge()
        else:
            self.say(f"m-lap-us-{time.perf_counter_ns() // 1000 % (1 << 32)}")

    def name(self, words: list[str]) -> None:
        """`name`."""
        self.say(f"m-name-dut-[{self.settings.name}]")

    def profile(self, words: list[str]) -> None:
        """`profile`."""
        self.say("m-profile-[ULPMark for tinyML Firmware V0.0.1]")
        self.say(f"m-model-[{self.settings.model_name}]")

    def buffer(self, words: list[str]) -> None:
        """`db load N`, `db HEX`, `db print`."""
        if words[:1] == ["load"]:
            self._buffer_load(words[1:])
        elif words[:1] == ["print"]:
            for start in range(0, len(self._buffer), 8):
                self.say("m-buffer-" + self._buffer[start : start + 8].hex("-"))
        elif not words:
            self.say("e-[Command 'db' requires a subcommand]")
        else:
            self._buffer_bytes(words[0])

    def _buffer_load(self, words: list[str]) -> None:
        self._expected = int(words[0]) if words and words[0].isdigit() else 0
        self._buffer.clear()
        if not words:
            self.say("e-[Command 'db load' requires the # of bytes]")
        elif self._expected == 0:
            self.say("e-[Command 'db load' must be >0 bytes]")
        elif self._expected > INPUT_MAX_BYTES:
            self.say(f"e-[Supplied buffer size {self._expected} exceeds maximum of {INPUT_MAX_BYTES}]")
            self._expected = 0
        else:
            self.say(f"m-[Expecting {self._expected} bytes]")

    def _buffer_bytes(self, digits: str) -> None:
        if len(digits) % 2:
            self.say("e-[Insufficent number of hex digits]")
            return
        try:
            data = bytes.fromhex(digits)
        except ValueError:
            self.say("e-[Invalid hex digit '??']")
            return
        room = self._expected - len(self._buffer)
        self._buffer += data[: max(room, 0)]
        if 0 < room <= len(data):
            self.say("m-load-done")

    def infer(self, words: list[str]) -> None:
        """`infer N [W]`."""
        iterations, warmups = _number(words, 0, 1), _number(words, 1, 10)
        if iterations <= 0:
            self.say("e-[Inference iterations must be >0]")
        elif warmups < 0:
            self.say("e-[Inference warmup must be >=0]")
        elif not self.engine.loaded:
            self.say("e-[px-model no model is loaded]")
        else:
            self._window(iterations, warmups)

    def _window(self, iterations: int, warmups: int) -> None:
        self.engine.set_inputs(bytes(self._buffer))
        self.say(f"m-warmup-start-{warmups}")
        for _ in range(warmups):
            self.engine.invoke()
        self.say("m-warmup-done")
        self.say(f"m-infer-start-{iterations}")
        self.timestamp()
        begin_ns = time.perf_counter_ns()
        for _ in range(iterations):
            self.engine.invoke()
        self._ticks = time.perf_counter_ns() - begin_ns
        self.timestamp()
        self.say("m-infer-done")
        self.results([])

    def results(self, words: list[str]) -> None:
        """`results`."""
        if not self.engine.loaded:
            self.say("e-[px-model no model is loaded]")
            return
        self.say("m-results-[" + ",".join(f"{value:.3f}" for value in self.engine.results()) + "]")

    def extension(self, words: list[str]) -> None:
        """`px ...`."""
        handler = EXTENSION.get(words[0] if words else "")
        if handler is None:
            self.say(f"e-[px-command {' '.join(words)[:40]}]")
            return
        handler(self, words[1:])

    def px_info(self, words: list[str]) -> None:
        """`px info`."""
        for line in (
            "version-1",
            f"board-[{self.settings.name}]",
            f"engine-[{self.engine.name}]",
            "tick-[nanoseconds]",
            "units-per-kilotick-1000",
            f"command-chars-{COMMAND_CHARS}",
            f"model-max-bytes-{self.settings.model_max_bytes}",
            f"arena-max-bytes-{self.settings.arena_bytes}",
            f"input-max-bytes-{INPUT_MAX_BYTES}",
        ):
            self.say(f"m-px-{line}")

    def px_begin(self, words: list[str]) -> None:
        """`px begin SIZE SHA256`: a known hash goes on where it stopped."""
        size = _number(words, 0, 0)
        if not 0 < size <= self.settings.model_max_bytes or len(words) != 2:
            self.say(f"e-[px-size {size} bytes, at most {self.settings.model_max_bytes}]")
            return
        if (words[1], size) != (self._model_hash, self._model_bytes):
            self._model.clear()
        self._model_hash, self._model_bytes = words[1], size
        self.say(f"m-px-at-{len(self._model)}")

    def px_put(self, words: list[str]) -> None:
        """`px put OFFSET CRC32 BASE64`."""
        try:
            offset, crc, chunk = int(words[0]), int(words[1], 16), b64decode(words[2], validate=True)
        except (ValueError, IndexError):
            self.say("e-[px-chunk damaged]")
            return
        if zlib.crc32(chunk) != crc:
            self.say("e-[px-chunk checksum]")
        elif offset != len(self._model) or offset + len(chunk) > self._model_bytes:
            self.say(f"e-[px-chunk not at {offset} but at {len(self._model)}]")
        else:
            self._model += chunk
            self.say(f"m-px-at-{len(self._model)}")

    def px_end(self, words: list[str]) -> None:
        """`px end`: check the hash and build the model."""
        model = bytes(self._model)
        digest = hashlib.sha256(model).hexdigest()
        if len(model) != self._model_bytes or digest != self._model_hash:
            self._model.clear()
            self.say(f"e-[px-hash {digest[:16]}]")
            return
        try:
            self.engine.build(model)
        except EngineError as error:
            self.say(f"e-[{error.kind} {error.text}]")
            return
        self.say(f"m-px-model-[{digest[:16]}]")

    def px_memory(self, words: list[str]) -> None:
        """`px memory`."""
        if not self.engine.arena:
            self.say("e-[px-model no model is loaded]")
            return
        self.say(f"m-px-arena-bytes-{self.engine.arena['total']}")
        self.say(f"m-px-arena-head-bytes-{self.engine.arena['head']}")
        self.say(f"m-px-arena-tail-bytes-{self.engine.arena['tail']}")

    def px_ticks(self, words: list[str]) -> None:
        """`px ticks`."""
        self.say(f"m-px-ticks-{self._ticks}")

    def px_crc(self, words: list[str]) -> None:
        """`px crc`."""
        self.say(f"m-px-crc-{zlib.crc32(self._buffer):08x}")

    def px_output(self, words: list[str]) -> None:
        """`px output I`."""
        try:
            data = self.engine.output(_number(words, 0, 0))
        except (AttributeError, IndexError, RuntimeError, ValueError):
            self.say("e-[px-output there is no such output]")
            return
        self.say(f"m-px-output-bytes-{len(data)}")
        for start in range(0, len(data), OUTPUT_LINE_BYTES):
            self.say("m-px-out-" + data[start : start + OUTPUT_LINE_BYTES].hex())

    def px_ops(self, words: list[str]) -> None:
        """`px ops`: the wheel does not tell."""
        self.say("e-[px-ops this engine does not time operators]")


def _number(words: list[str], index: int, default: int) -> int:
    if index >= len(words):
        return default
    try:
        return int(words[index])
    except ValueError:
        return 0


HANDLERS: dict[str, Callable[[Firmware, list[str]], None]] = {
    "name": Firmware.name,
    "profile": Firmware.profile,
    "timestamp": lambda firmware, words: firmware.timestamp(),
    "db": Firmware.buffer,
    "infer": Firmware.infer,
    "results": Firmware.results,
    "px": Firmware.extension,
}
EXTENSION: dict[str, Callable[[Firmware, list[str]], None]] = {
    "info": Firmware.px_info,
    "begin": Firmware.px_begin,
    "put": Firmware.px_put,
    "end": Firmware.px_end,
    "memory": Firmware.px_memory,
    "ticks": Firmware.px_ticks,
    "crc": Firmware.px_crc,
    "output": Firmware.px_output,
    "ops": Firmware.px_ops,
}
