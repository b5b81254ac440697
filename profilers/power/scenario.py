"""Energy of using a model: so many inferences a second for so many minutes, as gaugeNN's scenarios do."""

from __future__ import annotations

from dataclasses import dataclass

from perfsage.errors import InvalidInputError


@dataclass(frozen=True, slots=True, kw_only=True)
class ScenarioEnergy:
    """What a scenario costs."""

    inferences: int
    net_mj: float
    total_mj: float | None
    """With the idle power of the whole time, which passes anyway while the device is on; None where that is
    not known."""
    busy_share: float
    battery_share: float | None
    """Of a full battery, used by the total; by the net where that is all that is known."""

    @property
    def spent_mj(self) -> float:
        """The total, or the net where the idle power is not known."""
        return self.net_mj if self.total_mj is None else self.total_mj


def scenario_energy(
    *,
    net_mj_per_inference: float,
    latency_ms: float,
    idle_power_w: float | None,
    inferences_per_s: float,
    minutes: float,
    battery_wh: float | None = None,
) -> ScenarioEnergy:
    """Return the energy of `inferences_per_s` for `minutes`.

    InvalidInputError where the device is too slow for the rate.

    >>> scenario_energy(net_mj_per_inference=2.0, latency_ms=10.0, idle_power_w=0.5,
    ...                 inferences_per_s=30.0, minutes=1.0).total_mj
    33600.0
    """
    busy_share = latency_ms * inferences_per_s / 1e3
    if inferences_per_s <= 0 or minutes <= 0:
        raise InvalidInputError("a scenario needs a rate and a time above zero")
    if busy_share > 1.0:
        raise InvalidInputError(
            f"an inference takes {latency_ms:g} ms: {inferences_per_s:g} a second are not possible",
            hint=f"The device manages {1e3 / latency_ms:.3g} a second.",
        )
    seconds = minutes * 60.0
    inferences = round(inferences_per_s * seconds)
    net_mj = net_mj_per_inference * inferences
    total_mj = None if idle_power_w is None else net_mj + idle_power_w * 1e3 * seconds
    spent_mj = net_mj if total_mj is None else total_mj
    return ScenarioEnergy(
        inferences=inferences,
        net_mj=net_mj,
        total_mj=total_mj,
        busy_share=busy_share,
        battery_share=None if battery_wh is None else spent_mj / (battery_wh * 3.6e6),
    )
