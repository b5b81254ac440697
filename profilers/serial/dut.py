"""The MLPerf Tiny commands of a device under test, each with its answer checked.

Source of the strings: mlcommons/tiny, benchmark/api (Apache-2.0). Lines that a firmware adds are ignored;
lines that are missing are deviations, and are tried again after a resynchronization where that is harmless.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from profilers.serial.errors import BoardRefusedError, DeviationError, LineError, PortGoneError, RebootedError
from profilers.serial.link import Channel, Reply

TRIES = 3
PLAIN_LOAD_BYTES = 26
"""Bytes in one `db` command: what fits beside the `dut ` of an IO manager into 64 characters."""
LOAD_ANSWER_S = 5.0
"""One lost answer begins the whole load again, so a slow board gets its time."""


class TimestampMode(StrEnum):
    """How a board tells the time: a line with microseconds, or an edge on a pin for the power monitor."""

    PERFORMANCE = "performance"
    ENERGY = "energy"


@dataclass(frozen=True, slots=True)
class Identity:
    """Who answers: vendor, firmware and the network it holds (`kws01`, ...), and how it tells the time."""

    vendor: str
    firmware: str | None
    model: str | None
    mode: TimestampMode


@dataclass(frozen=True, slots=True)
class Inference:
    """One measured window. `start_us` and `end_us` are None in energy mode, where a pin tells the time."""

    iterations: int
    warmups: int
    start_us: int | None
    end_us: int | None
    results: tuple[float, ...]

    @property
    def window_us(self) -> int | None:
        """Length of the window on the board's clock, over a wrap of 32 bits; None in energy mode."""
        if self.start_us is None or self.end_us is None:
            return None
        return (self.end_us - self.start_us) % (1 << 32)


class Dut:
    """The commands that every firmware of MLPerf Tiny knows."""

    def __init__(self, channel: Channel) -> None:
        self.channel = channel

    def identify(self) -> Identity:
        """Ask for name, profile and model, and find out the timestamp mode."""
        name = self.ask("name", r"m-name-\S+?-\[(.*?)\]")
        profile = self.retried("profile", None, 2.0)
        firmware, model = profile.find(r"m-profile-\[(.*)\]"), profile.find(r"m-model-\[(.*)\]")
        return Identity(
            vendor=name[1],
            firmware=firmware[1] if firmware else None,
            model=model[1] if model else None,
            mode=self.timestamp_mode(),
        )

    def timestamp_mode(self) -> TimestampMode:
        """Return the mode: in energy mode `timestamp` answers with nothing but an edge on a pin."""
        lap = self.retried("timestamp", None, 2.0).find(r"m-lap-us-\d+")
        return TimestampMode.PERFORMANCE if lap else TimestampMode.ENERGY

    def load(self, data: bytes, load_bytes: int = PLAIN_LOAD_BYTES) -> None:
        """Fill the input buffer, in commands of at most `load_bytes`; begins again after trouble."""
        for attempt in range(TRIES):
            try:
                return self._load_once(data, load_bytes)
            except PortGoneError:
                raise
            except LineError:
                if attempt == TRIES - 1:
                    raise
                self.channel.resync()

    def _load_once(self, data: bytes, load_bytes: int) -> None:
        self.ask(f"db load {len(data)}", r"m-\[Expecting \d+ bytes\]")
        reply = Reply("db", ())
        for offset in range(0, len(data), load_bytes):
            reply = self.channel.command("db " + data[offset : offset + load_bytes].hex(), LOAD_ANSWER_S)
            done = reply.find("m-load-done") is not None
            if reply.refusal is not None or done != (offset + load_bytes >= len(data)):
                raise self.deviation(reply, f"byte {offset} of {len(data)} was not taken")

    def read_back(self) -> bytes:
        """Return what the input buffer holds (`db print`)."""
        reply = self.channel.command("db print", timeout_s=60.0)
        digits = "".join(m[1] for m in reply.find_all(r"m-buffer-([0-9a-fA-F-]+)$"))
        try:
            return bytes.fromhex(digits.replace("-", ""))
        except ValueError:
            raise self.deviation(reply, "the buffer came back damaged") from None

    def infer(self, iterations: int, warmups: int, timeout_s: float) -> Inference:
        """Run one window; `iterations` inferences between two timestamps, after `warmups` outside them."""
        reply = self.channel.command(f"infer {iterations} {warmups}", timeout_s=timeout_s)
        self._refuse(reply)
        started, done = reply.find(r"m-infer-start-(\d+)"), reply.find("m-infer-done")
        if started is None or done is None or int(started[1]) != iterations:
            raise self.deviation(reply, "the answer is not that of a window")
        laps = [int(m[1]) for m in reply.find_all(r"m-lap-us-(\d+)")]
        if len(laps) not in (0, 2):
            raise self.deviation(reply, f"{len(laps)} timestamps came, not 2")
        start_us, end_us = laps or (None, None)
        return Inference(iterations, warmups, start_us, end_us, self._results(reply))

    def results(self) -> tuple[float, ...]:
        """Return the output of the last inference, as the board prints it (three decimals)."""
        return self._results(self.retried("results", r"m-results-\[", 2.0))

    def ask(self, text: str, pattern: str, timeout_s: float = 2.0) -> re.Match[str]:
        """Send a command that may be repeated, and return the match of `pattern` in its answer."""
        found = self.retried(text, pattern, timeout_s).find(pattern)
        assert found is not None
        return found

    def retried(self, text: str, pattern: str | None, timeout_s: float) -> Reply:
        """Return an answer that shows `pattern`; a late or strange one is read away and asked for again."""
        for attempt in range(TRIES):
            try:
                reply = self.channel.command(text, timeout_s=timeout_s)
                self._refuse(reply)
                if pattern is None or reply.find(pattern) is not None:
                    return reply
                failure: LineError = self.deviation(reply, f"nothing like {pattern!r} came")
            except (PortGoneError, RebootedError):
                raise
            except LineError as error:
                failure = error
            if attempt == TRIES - 1:
                raise failure
            self.channel.resync()
        raise AssertionError("unreachable")

    def _results(self, reply: Reply) -> tuple[float, ...]:
        found = reply.find(r"m-results-\[(.*)\]")
        if found is None:
            raise self.deviation(reply, "no m-results came")
        try:
            return tuple(float(text) for text in found[1].split(",") if text.strip())
        except ValueError:
            raise self.deviation(reply, "m-results holds something that is not a number") from None

    def _refuse(self, reply: Reply) -> None:
        if reply.refusal is None:
            return
        unknown = re.match(r"Unknown command: (.*)", reply.refusal)
        if unknown is not None and unknown[1] != reply.command.split()[0]:
            raise self.deviation(reply, "the command arrived damaged")
        raise BoardRefusedError(
            reply.command,
            reply.refusal,
            where=self.channel.name,
            hint="The firmware does not know this command, or not these values.",
        )

    def deviation(self, reply: Reply, what: str) -> DeviationError:
        """Return the error that says `what` is wrong with an answer, with its bytes."""
        return DeviationError(
            f"{what} after {reply.command[:40]!r}",
            received=reply.received,
            where=self.channel.name,
            hint="Compare the firmware with docs/serial-protocol.md.",
        )
