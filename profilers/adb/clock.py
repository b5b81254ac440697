"""How a phone's clock relates to this machine's."""

from __future__ import annotations

import time
from dataclasses import dataclass

from perfsage.errors import TransientDeviceError
from profilers.adb.transport import Adb
from profilers.power.monitor import ClockMap

READINGS = 9
UPTIME_STEP_S = 0.01


@dataclass(frozen=True, slots=True)
class PhoneClock:
    """The phone's uptime as seen from here."""

    map: ClockMap

    def device_now_s(self) -> float:
        """Return the phone's uptime at this moment."""
        return time.monotonic() - self.map.offset_s


def read_clock(adb: Adb) -> PhoneClock:
    """Read the phone's uptime several times; the quickest answer is the most exact one.

    The reading happened somewhere within the round trip, and /proc/uptime counts hundredths of a second.
    """
    best: tuple[float, float] | None = None
    for _ in range(READINGS):
        asked_s = time.monotonic()
        text = adb.run("cat /proc/uptime").text
        answered_s = time.monotonic()
        try:
            uptime_s = float(text.split()[0])
        except (IndexError, ValueError):
            raise TransientDeviceError(
                f"the phone's uptime reads {text[:40]!r}", where=f"phone {adb.address}"
            ) from None
        trip_s = answered_s - asked_s
        if best is None or trip_s < best[0]:
            best = trip_s, (asked_s + answered_s) / 2 - uptime_s
    assert best is not None
    return PhoneClock(ClockMap(offset_s=best[1], error_s=best[0] / 2 + UPTIME_STEP_S))
