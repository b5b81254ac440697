"""Ethos-U configurations: which exist, their defaults, and the numbers that describe them.

The numbers come from the `vela.ini` that Arm ships with Vela; which memory a mode uses for what follows the
comments of that file.
"""

from __future__ import annotations

import configparser
import importlib.metadata
import importlib.util
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from perfsage.errors import InvalidInputError, MissingExtraError, UnknownNameError

# Pairs of system configuration and memory mode of vela.ini, the smaller cores with the slower memories.
_DEFAULTS = {
    "ethos-u55-32": ("Ethos_U55_Deep_Embedded", "Shared_Sram"),
    "ethos-u55-64": ("Ethos_U55_Deep_Embedded", "Shared_Sram"),
    "ethos-u55-128": ("Ethos_U55_High_End_Embedded", "Shared_Sram"),
    "ethos-u55-256": ("Ethos_U55_High_End_Embedded", "Shared_Sram"),
    "ethos-u65-256": ("Ethos_U65_Embedded", "Shared_Sram"),
    "ethos-u65-512": ("Ethos_U65_High_End", "Dedicated_Sram"),
    "ethos-u85-128": ("Ethos_U85_SYS_Flash_Low", "Shared_Sram"),
    "ethos-u85-256": ("Ethos_U85_SYS_Flash_High", "Shared_Sram"),
    "ethos-u85-512": ("Ethos_U85_SYS_DRAM_Low", "Dedicated_Sram_256KB"),
    "ethos-u85-1024": ("Ethos_U85_SYS_DRAM_Mid", "Dedicated_Sram_384KB"),
    "ethos-u85-2048": ("Ethos_U85_SYS_DRAM_High", "Dedicated_Sram_512KB"),
}
_AXI_BYTES_PER_CYCLE = {"u55": 8, "u65": 16, "u85": 16}  # ethosu/vela/architecture_features.py
_ADDRESS_BITS = {"u55": 32, "u65": 40, "u85": 40}
_MEMORIES = {"Sram": "sram", "Dram": "dram", "OffChipFlash": "flash", "OnChipFlash": "flash"}


@dataclass(frozen=True, slots=True)
class Configuration:
    """An accelerator with the memories around it; `name` is the device's name in PerfSAGE."""

    name: str
    accelerator: str
    system_config: str
    memory_mode: str

    @property
    def family(self) -> str:
        """One of u55, u65, u85."""
        return self.accelerator.split("-")[1]

    @property
    def cores(self) -> int:
        """Ethos-U65-512 is two cores of 256 MACs; all others are one."""
        return 2 if self.accelerator == "ethos-u65-512" else 1

    @property
    def macs_per_core(self) -> int:
        """MACs per cycle of one core."""
        return int(self.accelerator.rsplit("-", 1)[1]) // self.cores

    @property
    def clock_hz(self) -> float:
        """The core clock of the system configuration."""
        return float(_system(self)["core_clock"])

    @property
    def arena_cache_bytes(self) -> int:
        """The mode's limit on the SRAM that Vela may use; the whole address space where it sets none."""
        limit = _mode(self.memory_mode).get("arena_cache_size")
        return int(limit) if limit else 1 << _ADDRESS_BITS[self.family]

    @property
    def constants_in_sram(self) -> bool:
        """Whether constants share the SRAM with activations (memory mode Sram_Only)."""
        return _port(self, _mode(self.memory_mode)["const_mem_area"]) == "Sram"

    def regor_text(self) -> str:
        """Return the configuration in the form that Vela's core reads."""
        head = f"[architecture]\nmacs={self.macs_per_core}\ncores={self.cores}\n"
        choice = f"[vela]\nsystem_config_name={self.system_config}\nmemory_mode_name={self.memory_mode}\n"
        return head + choice + ini_path().read_text(encoding="utf-8")

    def descriptors(self) -> dict[str, float]:
        """Return the numbers that a predictor may learn from; memories that are not there are left out."""
        mode = _mode(self.memory_mode)
        numbers = {
            "macs_per_cycle": self.macs_per_core * self.cores,
            "clock_hz": self.clock_hz,
            "cores": self.cores,
            "generation": int(self.family[1:]),
            "arena_cache_bytes": self.arena_cache_bytes,
            "arena_in_sram": float(_port(self, mode["arena_mem_area"]) == "Sram"),
            "constants_in_sram": float(self.constants_in_sram),
        }
        for area in {_port(self, "Axi0"), _port(self, "Axi1")}:
            numbers.update(_memory_descriptors(self, area))
        return {name: float(numbers[name]) for name in sorted(numbers)}


def configuration_names() -> list[str]:
    """Return the names of the configurations with defaults, smallest first."""
    return list(_DEFAULTS)


def parse_configuration(name: str) -> Configuration:
    """Return the configuration of `ACCELERATOR` or `ACCELERATOR@SYSTEM_CONFIG,MEMORY_MODE`.

    UnknownNameError lists what exists; InvalidInputError says why two names do not fit together.
    """
    accelerator, _, chosen = name.partition("@")
    if accelerator not in _DEFAULTS:
        known = ", ".join(_DEFAULTS)
        raise UnknownNameError(f"there is no Ethos-U configuration {accelerator!r}", hint=f"Known: {known}.")
    if not chosen:
        return Configuration(name, accelerator, *_DEFAULTS[accelerator])
    system_config, _, memory_mode = chosen.partition(",")
    configuration = Configuration(name, accelerator, system_config, memory_mode)
    _check_system(configuration)
    _check_mode(configuration)
    return configuration


def ini_path() -> Path:
    """Return the vela.ini that ships with Vela, found without importing the compiler."""
    spec = importlib.util.find_spec("ethosu")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        path = Path(folder) / "config_files" / "Arm" / "vela.ini"
        if path.is_file():
            return path
    raise MissingExtraError("ethos-u-vela", "profilers")


def vela_version() -> str:
    """Return the version of the installed Vela."""
    try:
        return importlib.metadata.version("ethos-u-vela")
    except importlib.metadata.PackageNotFoundError:
        raise MissingExtraError("ethos-u-vela", "profilers") from None


def _check_system(configuration: Configuration) -> None:
    prefix = f"Ethos_{configuration.family.upper()}_"
    known = [name for name in _sections("System_Config") if name.startswith(prefix)]
    if configuration.system_config not in known:
        raise UnknownNameError(
            f"there is no system configuration {configuration.system_config!r}",
            where=configuration.accelerator,
            hint=f"Known: {', '.join(known)}.",
        )


def _check_mode(configuration: Configuration) -> None:
    known = _sections("Memory_Mode")
    if configuration.memory_mode not in known:
        raise UnknownNameError(
            f"there is no memory mode {configuration.memory_mode!r}",
            where=configuration.name,
            hint=f"Known: {', '.join(known)}.",
        )
    mode = _mode(configuration.memory_mode)
    if "Flash" in _port(configuration, mode["arena_mem_area"]):
        raise InvalidInputError(
            f"{configuration.memory_mode} wants a writeable second memory, "
            f"and {configuration.system_config} has flash there",
            where=configuration.name,
            hint="Take Shared_Sram or Sram_Only, or a system configuration with DRAM.",
        )


@cache
def _ini() -> configparser.ConfigParser:
    parser = configparser.ConfigParser(inline_comment_prefixes=(";",))
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(ini_path().read_text(encoding="utf-8"))
    return parser


def _sections(kind: str) -> list[str]:
    return [section.split(".", 1)[1] for section in _ini().sections() if section.startswith(kind + ".")]


def _system(configuration: Configuration) -> configparser.SectionProxy:
    return _ini()[f"System_Config.{configuration.system_config}"]


def _mode(name: str) -> dict[str, str]:
    section = dict(_ini()[f"Memory_Mode.{name}"])
    parent = section.pop("inherit", None)
    return {**(_mode(parent.split(".", 1)[1]) if parent else {}), **section}


def _port(configuration: Configuration, port: str) -> str:
    return _system(configuration)[f"{port.lower()}_port"]


def _memory_descriptors(configuration: Configuration, area: str) -> dict[str, float]:
    system = _system(configuration)
    name = _MEMORIES[area]
    ports = system.getfloat(f"{area}_ports_used", 1)
    scale = system.getfloat(f"{area}_clock_scale", 1.0)
    numbers = {f"{name}_bytes_per_cycle": _AXI_BYTES_PER_CYCLE[configuration.family] * ports * scale}
    for key, unit in {
        "burst_length": "burst_bytes",
        "read_latency": "read_latency_cycles",
        "write_latency": "write_latency_cycles",
        "max_reads": "max_reads",
        "max_writes": "max_writes",
    }.items():
        numbers[f"{name}_{unit}"] = system.getfloat(f"{area}_{key}", 0.0)
    return numbers
