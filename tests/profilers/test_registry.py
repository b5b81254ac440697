"""Names of devices."""

from __future__ import annotations

import subprocess
import sys

import pytest

from perfsage.errors import InvalidInputError, UnknownNameError
from profilers import describe, device_names, open_profiler, shares_pool

CONFIGURATIONS = ["u55-32", "u55-64", "u55-128", "u55-256", "u65-256", "u65-512"]
CONFIGURATIONS += ["u85-128", "u85-256", "u85-512", "u85-1024", "u85-2048"]


def test_names() -> None:
    assert device_names() == ["host-cpu", "tflm", *(f"ethos-{name}" for name in CONFIGURATIONS)]


@pytest.mark.parametrize("name", device_names())
def test_every_name_can_be_described(name: str) -> None:
    assert describe(name).name == name


def test_describing_starts_and_imports_no_tool() -> None:
    code = """
import sys
from profilers import describe, device_names
[describe(name) for name in device_names()]
tools = {"ethosu.regor", "ethosu.vela", "ai_edge_litert", "tflite_micro", "torch"} & set(sys.modules)
assert not tools, tools
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("name", ["", "ethos-", "ethos-u55-100", "tflm-2", "gpu", "host-cpu "])
def test_unknown_names_list_what_exists(name: str) -> None:
    for function in (describe, open_profiler):
        with pytest.raises(UnknownNameError) as error:
            function(name)
        assert "ethos-u55-128" in str(error.value)


def test_an_ethos_configuration_can_be_named_in_full() -> None:
    device = describe("ethos-u55-128@Ethos_U55_Deep_Embedded,Sram_Only")
    assert device.descriptors["clock_hz"] == 200e6
    assert device.descriptors["constants_in_sram"] == 1
    assert "flash_bytes_per_cycle" in device.descriptors


@pytest.mark.parametrize(
    ("name", "error", "hint"),
    [
        ("ethos-u55-128@Ethos_U85_SYS_DRAM_Mid,Shared_Sram", UnknownNameError, "Ethos_U55_Deep_Embedded"),
        ("ethos-u55-128@Ethos_U55_Deep_Embedded,Fast", UnknownNameError, "Shared_Sram"),
        ("ethos-u55-128@Ethos_U55_Deep_Embedded", UnknownNameError, "Shared_Sram"),
        ("ethos-u55-128@Ethos_U55_Deep_Embedded,Dedicated_Sram", InvalidInputError, "Sram_Only"),
    ],
)
def test_configurations_that_do_not_exist(name: str, error: type[Exception], hint: str) -> None:
    with pytest.raises(error) as caught:
        describe(name)
    assert hint in str(caught.value)


def test_descriptors_of_a_known_configuration() -> None:
    numbers = describe("ethos-u65-512").descriptors
    assert numbers["macs_per_cycle"] == 512
    assert numbers["cores"] == 2
    assert numbers["sram_bytes_per_cycle"] * numbers["clock_hz"] == 16e9  # "SRAM (16 GB/s)" in vela.ini
    assert numbers["dram_bytes_per_cycle"] * numbers["clock_hz"] == 3.75e9
    assert numbers["dram_read_latency_cycles"] == 500


def test_what_may_share_workers() -> None:
    assert not shares_pool("host-cpu")
    assert shares_pool("tflm")
    assert shares_pool("ethos-u85-256")
