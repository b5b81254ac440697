"""Greenhouse gas of an energy: energy times the intensity of the grid that supplied it. Off unless asked for.

Intensities are the user's own, since they differ by country, hour and year: national statistics, or a
supplier's figure. None is built in.
"""

from __future__ import annotations

from dataclasses import dataclass

from perfsage.errors import InvalidInputError

MJ_PER_KWH = 3.6e9
"""Millijoules per kilowatt hour."""


@dataclass(frozen=True, slots=True)
class GridIntensity:
    """Grams of CO2 equivalent per kilowatt hour, and where the figure comes from."""

    g_per_kwh: float
    source: str

    @classmethod
    def parse(cls, text: str) -> GridIntensity:
        """Read `G_PER_KWH:SOURCE`.

        >>> GridIntensity.parse("380:national statistics, 2025").source
        'national statistics, 2025'
        """
        figure, _, source = text.partition(":")
        try:
            return cls(float(figure), source.strip())
        except ValueError:
            raise InvalidInputError(
                f"{figure!r} is no number of grams per kilowatt hour",
                where=text,
                hint="Write the figure and its source, such as '380:national statistics, 2025'.",
            ) from None

    def __post_init__(self) -> None:
        """Refuse a figure without its source, or one that no grid has."""
        if not 0.0 <= self.g_per_kwh <= 2000.0:
            raise InvalidInputError(
                f"{self.g_per_kwh} g/kWh is not a grid's intensity", hint="Coal alone is near 1000 g/kWh."
            )
        if not self.source.strip():
            raise InvalidInputError(
                "a grid intensity needs its source", hint="Name the table, place and year."
            )


def carbon_mg(energy_mj: float, intensity: GridIntensity) -> float:
    """Return milligrams of CO2 equivalent for an energy in millijoules.

    >>> round(carbon_mg(3.6e9, GridIntensity(400.0, "an example")))
    400000
    """
    return energy_mj / MJ_PER_KWH * intensity.g_per_kwh * 1e3
