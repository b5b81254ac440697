"""Energy of a network from counts of MACs and bytes, by a replaceable table of energy per operation."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from perfsage.errors import InvalidInputError

_MAX_TABLE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class EnergyTable:
    """Picojoules per MAC and per byte moved to or from each memory; memories not named cost nothing."""

    name: str
    version: str
    source: str
    excludes: str
    mac_pj: float
    bytes_pj: Mapping[str, float]

    @property
    def label(self) -> str:
        """Name and version, as stored with each estimate."""
        return f"{self.name} version {self.version}"

    def millijoules(self, macs: int, memories: Mapping[str, Mapping[str, int]]) -> float:
        """Return the energy of `macs` MACs and of the bytes read and written in each memory."""
        picojoules = self.mac_pj * macs
        for memory, counts in memories.items():
            moved = counts["read_bytes"] + counts["written_bytes"]
            picojoules += self.bytes_pj.get(memory, 0.0) * moved
        return picojoules * 1e-9


def load_energy_table(path: str | Path | None = None) -> EnergyTable:
    """Read a table (by default the one that ships); InvalidInputError says what is wrong with a file."""
    file = Path(path) if path else Path(__file__).with_name("energy.toml")
    try:
        if file.stat().st_size > _MAX_TABLE_BYTES:
            raise InvalidInputError("an energy table is never this large", where=str(file))
        table = tomllib.loads(file.read_text(encoding="utf-8"))
        return _table(table, str(file))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InvalidInputError(f"the energy table cannot be read: {error}", where=str(file)) from None


def _table(table: Mapping[str, Any], where: str) -> EnergyTable:
    try:
        memories = {str(name).lower(): float(value) for name, value in table["bytes_pj"].items()}
        mac_pj = float(table["mac_pj"])
        name, version, source = (str(table[key]) for key in ("name", "version", "source"))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        hint = "It needs name, version, source, mac_pj and [bytes_pj], as profilers/npu/energy.toml has."
        raise InvalidInputError(f"the energy table lacks {error}", where=where, hint=hint) from None
    if not all(math.isfinite(value) and value >= 0 for value in (mac_pj, *memories.values())):
        raise InvalidInputError("energies must be finite and not negative", where=where)
    return EnergyTable(name, version, source, str(table.get("excludes", "")), mac_pj, memories)
