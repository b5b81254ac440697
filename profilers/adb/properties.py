"""What a phone is: model, system, processor cores and their clocks, found out in one command."""

from __future__ import annotations

import re
from dataclasses import dataclass

from profilers.adb.transport import Adb

_GETPROP = re.compile(r"\[([^\]]+)\]: \[(.*)\]")
_MACHINES = {"x86_64": "x86_64", "aarch64": "arm64-v8a", "armv7l": "armeabi-v7a", "armv8l": "armeabi-v7a"}

_ASK = """getprop 2>/dev/null
echo "machine $(uname -m)"
echo "kernel $(uname -r)"
[ -r /proc/device-tree/model ] && echo "board $(tr -d '\\000' </proc/device-tree/model)"
sed -n 's/^PRETTY_NAME="\\(.*\\)"/system \\1/p' /etc/os-release 2>/dev/null
sed -n 's/^MemTotal: *\\([0-9]*\\) kB/memory_kb \\1/p' /proc/meminfo
for c in /sys/devices/system/cpu/cpu[0-9]*; do f=$c/cpufreq
[ -e $c ] && echo "core ${c##*cpu} $(cat $f/cpuinfo_max_freq 2>/dev/null)" \
"$(cat $f/scaling_max_freq 2>/dev/null)" \
"$(cat $f/scaling_governor 2>/dev/null) $(tr ' ' ',' <$f/related_cpus 2>/dev/null)"; done; true"""


@dataclass(frozen=True, slots=True)
class Core:
    """One processor core; clocks are None where the system does not show them."""

    index: int
    max_khz: int | None
    allowed_khz: int | None
    governor: str | None
    cluster: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Properties:
    """A phone or board as it describes itself; empty text where it does not say."""

    model: str
    manufacturer: str
    soc: str
    system: str
    abi: str
    serial: str
    kernel: str
    memory_bytes: int | None
    cores: tuple[Core, ...]

    @property
    def is_android(self) -> bool:
        """Whether it runs Android, whose C library is another one than that of Linux boards."""
        return self.system.startswith("Android")

    @property
    def allowed_khz(self) -> tuple[int, ...]:
        """The clocks that the system allows right now: they fall when it throttles."""
        return tuple(core.allowed_khz or 0 for core in self.cores)

    def conditions(self) -> dict[str, str | int | float | bool]:
        """Return what belongs beside every measurement."""
        found: dict[str, str | int | float | bool] = {
            "phone_model": self.model,
            "soc": self.soc,
            "system": self.system,
            "abi": self.abi,
            "kernel": self.kernel,
            "cores": len(self.cores),
            "clusters": "+".join(self.clusters()),
            "governor": ",".join(sorted({core.governor for core in self.cores if core.governor})),
        }
        return {name: value for name, value in found.items() if value != ""}

    def clusters(self) -> list[str]:
        """Return the clusters as counts and clocks, slowest first, such as `4x1803MHz`."""
        groups: dict[int, int] = {}
        for core in self.cores:
            if core.max_khz:
                groups[core.max_khz] = groups.get(core.max_khz, 0) + 1
        return [f"{count}x{khz // 1000}MHz" for khz, count in sorted(groups.items())]


def read_properties(adb: Adb) -> Properties:
    """Ask the phone what it is."""
    text = adb.run(_ASK).text
    prop = dict(_GETPROP.findall(text))
    own = {key: value for key, _, value in (line.partition(" ") for line in text.splitlines())}
    android = prop.get("ro.build.version.release", "")
    sdk = prop.get("ro.build.version.sdk", "")
    memory_kb = own.get("memory_kb", "")
    return Properties(
        model=prop.get("ro.product.model") or own.get("board", ""),
        manufacturer=prop.get("ro.product.manufacturer", ""),
        soc=" ".join(
            filter(
                None, (prop.get("ro.soc.manufacturer"), prop.get("ro.soc.model") or prop.get("ro.hardware"))
            )
        ),
        system=f"Android {android} (API {sdk})" if android else own.get("system", ""),
        abi=prop.get("ro.product.cpu.abi") or _MACHINES.get(own.get("machine", ""), own.get("machine", "")),
        serial=prop.get("ro.serialno", ""),
        kernel=own.get("kernel", ""),
        memory_bytes=int(memory_kb) * 1024 if memory_kb.isdigit() else None,
        cores=tuple(_cores(text)),
    )


def _cores(text: str) -> list[Core]:
    cores = []
    for line in text.splitlines():
        fields = line.split(" ")
        if fields[0] != "core" or len(fields) < 5 or not fields[1].isdigit():
            continue
        maximum, allowed = (int(f) if f.isdigit() else None for f in fields[2:4])
        cores.append(Core(int(fields[1]), maximum, allowed, fields[4] or None, " ".join(fields[5:]) or None))
    return sorted(cores, key=lambda core: core.index)
