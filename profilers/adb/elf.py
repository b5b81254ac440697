"""Which processor a binary was built for."""

from __future__ import annotations

import struct

_MACHINES = {3: "x86", 40: "armeabi-v7a", 62: "x86_64", 183: "arm64-v8a", 243: "riscv64"}
_RUNS_ON = {"arm64-v8a": {"arm64-v8a", "armeabi-v7a"}, "x86_64": {"x86_64", "x86"}}


def elf_abi(data: bytes) -> str | None:
    """Return the Android name of an ELF file's processor; None where it is no ELF file (a script)."""
    if data[:4] != b"\x7fELF" or len(data) < 20:
        return None
    order = "<" if data[5] == 1 else ">"
    (machine,) = struct.unpack_from(order + "H", data, 18)
    return _MACHINES.get(machine, f"machine {machine}")


def runs_on(binary_abi: str, device_abi: str) -> bool:
    """Say whether a processor of `device_abi` executes programs of `binary_abi`."""
    return binary_abi in _RUNS_ON.get(device_abi, {device_abi})
