"""What Android's power statistics service says about rails.

`dumpsys powerstats` lists the channels of the phone's energy meters and their subsystems; it does not print
readings (the service logs those for bug reports, minutes apart), so energies come from `odpm.py`.
Source: Android's services/core, PowerStatsService.dump.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from profilers.adb.transport import Adb

_CHANNEL = re.compile(r"ChannelId: (\d+), ChannelName: ([^,\n]+), ChannelSubsystem: ([^\n]+)")


@dataclass(frozen=True, slots=True)
class Channel:
    """One channel of a phone's energy meters."""

    index: int
    rail: str
    subsystem: str


def read_channels(adb: Adb) -> tuple[Channel, ...]:
    """Return the channels that the phone publishes; none where it has no such service."""
    return parse_channels(adb.run("dumpsys powerstats", check=False, timeout_s=15.0).text)


def parse_channels(text: str) -> tuple[Channel, ...]:
    """Read the channels out of `dumpsys powerstats`."""
    found = {int(number): (rail, system.strip()) for number, rail, system in _CHANNEL.findall(text)}
    return tuple(Channel(number, *names) for number, names in sorted(found.items()))
