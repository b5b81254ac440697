"""The inventory, and what `perfsage lab check` finds in a real one."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from perfsage.errors import InvalidInputError, StableDeviceError, UnknownNameError
from perfsage.metrics import Metric
from profilers.adb.profiler import AdbProfiler, describe_adb
from profilers.adb.transport import Adb
from profilers.lab import Lab, find_lab, lab_path, read_lab
from profilers.lab_attached import attached_devices
from profilers.lab_check import check_lab
from profilers.lab_tcpip import hand_over
from profilers.power.energy import IdleBand
from profilers.profiler import Plan
from tests.adb.conftest import quick_settings
from tests.adb.phones import Phone
from tests.profilers.networks import small

FULL = """
[devices.pixel6]
address = "10.0.0.7:5555"
host = "bench-1"
idle_between_models_s = 2.5
[devices.pixel6.runner]
path = "tools/benchmark_model"
delegate = "gpu"
require_full_delegation = true
cpu_mask = "f0"
flags = ["--signature_to_run_for=serving_default"]
[devices.pixel6.controls]
fixed_performance = true
[devices.pixel6.cooling]
max_temperature_c = 38.0
[devices.pixel6.energy]
monitor = "bench"
window_s = 20.0
idle_band_w = [0.1, 3.0]
[devices.pixel6.usb_switch]
kind = "uhubctl"
location = "1-1.4"
port = 2

[devices.pixel3]
address = "usb:0A1B2C3D"
energy = { monitor = "odpm", rails = ["CPU(BIG)"] }

[devices.nucleo]
kind = "serial"
port = "/dev/ttyACM0"

[monitors.bench]
kind = "hwmon"
path = "/sys/class/hwmon/hwmon3"
"""


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], Path]:
    def make(text: str) -> Path:
        path = tmp_path / "lab.toml"
        path.write_text(text)
        return path

    return make


Write = Callable[[str], Path]


def test_every_field_arrives(write: Write, tmp_path: Path) -> None:
    lab = read_lab(write(FULL))
    assert list(lab.phones) == ["pixel6", "pixel3"] and list(lab.boards) == ["nucleo"]
    phone = lab.phone("pixel6")
    runner = phone.settings.runner
    assert runner.path == tmp_path / "tools/benchmark_model" and runner.require_full_delegation
    assert (runner.delegate, runner.cpu_mask) == ("gpu", "f0")
    assert phone.settings.controls.fixed_performance and not phone.settings.controls.airplane_mode
    assert phone.settings.cooling.max_temperature_c == 38.0
    assert phone.settings.energy.window_s == 20.0
    assert phone.settings.energy.idle_band == IdleBand(0.1, 3.0)
    assert phone.usb_switch == {"kind": "uhubctl", "location": "1-1.4", "port": 2, "serial": ""}
    assert (phone.monitor, phone.host) == ("bench", "bench-1")
    assert lab.phone("pixel3").monitor_options == {"rails": ("CPU(BIG)",)}
    assert lab.monitors["bench"]["path"].endswith("hwmon3")


def test_a_phone_with_a_monitor_gives_energy(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERFSAGE_LAB", str(write(FULL)))
    device = describe_adb("adb:pixel6")
    assert device.name == "adb:pixel6" and device.metrics[Metric.ENERGY_MJ] == "net_of_idle"
    assert Metric.ENERGY_MJ in describe_adb("adb:10.0.0.9:5555").unavailable
    with pytest.raises(UnknownNameError, match=r"no phone 'nexus'.*Known: pixel6, pixel3"):
        describe_adb("adb:nexus")


def test_where_the_inventory_is_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PERFSAGE_LAB", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)
    assert lab_path() is None and find_lab() == Lab()
    (tmp_path / "config/perfsage").mkdir(parents=True)
    (tmp_path / "config/perfsage/lab.toml").write_text("")
    assert lab_path() == tmp_path / "config/perfsage/lab.toml"
    (tmp_path / "lab.toml").write_text("")
    assert lab_path() == Path("lab.toml")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[devices", "is not TOML"),
        ("[devices.a]\naddress = 'nonsense'", r"a\.address: .*not the address of a phone"),
        ("[devices.a]\nadress = '10.0.0.7:5555'", r"a\.address: Field required"),
        ("[devices.a]\naddress = '10.0.0.7:5555'\ncolour = 'red'", r"a\.colour: Extra inputs"),
        ("[devices.a]\naddress = '10.0.0.7:5555'\nrunner = {runs = 0}", r"a\.runner\.runs: .*greater"),
        ("[devices.a]\naddress = '10.0.0.7:5555'\nrunner = {flags = ['rm']}", "flags begin with --"),
        ("[devices.a]\naddress = '10.0.0.7:5555'\nrunner = {cpu_mask = '0x;'}", r"cpu_mask"),
        ("[devices.a]\naddress = '10.0.0.7:5555'\nenergy = {monitor = 'x'}", "there is no monitor 'x'"),
        (
            "[devices.a]\naddress = '10.0.0.7:5555'\nenergy = {monitor = 'battery', rails = ['TPU']}",
            "rails is nothing for the monitor 'battery'",
        ),
        (
            "[devices.a]\naddress = '10.0.0.7:5555'\nenergy = {sign = -1}",
            "sign is nothing for a phone without a monitor",
        ),
        ("[devices.'a b']\naddress = '10.0.0.7:5555'", "is not a name"),
        ("[monitors.m]\nport = 1", "kind"),
        ("[wires]\n", "wires: Extra inputs"),
    ],
)
def test_mistakes_are_named(write: Write, text: str, said: str) -> None:
    with pytest.raises(InvalidInputError, match=said):
        read_lab(write(text))


def test_a_missing_or_endless_inventory_is_refused(write: Write, tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="cannot be read"):
        read_lab(tmp_path / "nowhere.toml")
    with pytest.raises(InvalidInputError, match="longer than"):
        read_lab(write("#" * (2 << 20)))


def test_check_tries_everything(phone: Phone, key_path: Path, write: Write) -> None:
    lab = read_lab(
        write(
            f"[devices.here]\naddress = '{phone.address}'\nkey_path = '{key_path}'\n"
            f"[devices.gone]\naddress = '127.0.0.1:9'\nkey_path = '{key_path}'\npatience_s = 1.0\n"
            "[monitors.bench]\nkind = 'hwmon'\npath = '/nowhere'\n"
        )
    )
    found = {(f.subject, f.check): f for f in check_lab(lab)}
    assert {check: f.state for (who, check), f in found.items() if who == "here"} == {
        "connection": "ok",
        "leftovers": "ok",
        "storage": "ok",
        "runner": "ok",
        "clock": "ok",
        "power sources": "ok",
        "state": "ok",
    }
    gone = found["gone", "connection"]
    assert gone.state == "error" and "does not answer" in gone.message and gone.hint
    bench = found["bench", "monitor hwmon"]
    assert bench.state == "error" and "power1_input" in bench.hint


def test_check_tries_source_controls_and_switch(
    phone: Phone, key_path: Path, tmp_path: Path, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A gauge that refreshes once a second, a phone without Android's `cmd`, a hub that only pretends."""
    monkeypatch.setattr("profilers.lab_check_power.PHONE_LOOK_S", 4.0)
    switch = tmp_path / "bin" / "uhubctl"
    switch.parent.mkdir()
    switch.write_text("#!/bin/sh\n")
    switch.chmod(0o755)
    monkeypatch.setenv("PATH", f"{switch.parent}:/usr/bin:/bin")
    for name, text in {"type": "Battery", "voltage_now": "4000000", "status": "Charging"}.items():
        phone.write(f"sys/class/power_supply/battery/{name}", text + "\n")
    phone.write("sys/class/power_supply/usb/online", "1\n")
    stop = threading.Event()

    def move() -> None:
        for count in itertools.count():
            phone.write("sys/class/power_supply/battery/current_now", f"{-250_000 - count}\n")
            if stop.wait(0.7):
                return

    mover = threading.Thread(target=move)
    mover.start()
    lab = read_lab(
        write(
            f"[devices.here]\naddress = '{phone.address}'\nkey_path = '{key_path}'\n"
            "controls = {fixed_performance = true}\n"
            "energy = {monitor = 'battery', window_s = 5.0}\n"
            "usb_switch = {kind = 'uhubctl', location = '1-1', port = 1}\n"
            "[devices.board]\nkind = 'serial'\naddress = '/nowhere'\n"
            "[devices.robot]\nkind = 'arm'\n"
        )
    )
    found = {(f.subject, f.check): f for f in check_lab(lab)}
    stop.set()
    mover.join()
    source = found["here", "battery"]
    assert source.state == "warning" and "Set energy.window_s to at least 1" in source.hint, source
    assert "1 W" in source.message
    assert found["here", "controls"].state == "warning"
    assert "still reports a charger" in found["here", "usb switch"].message
    assert found["board", "board"].state == "error" and "/nowhere" in found["board", "board"].message
    assert "no devices of kind 'arm'" in found["robot", "board"].message


def test_an_empty_inventory_is_told() -> None:
    (found,) = check_lab(Lab())
    assert found.state == "warning" and "docs/lab.md" in found.hint


def test_adb_is_handed_over_to_the_network(phone: Phone, adb: Adb) -> None:
    """Debian's adbd listens on TCP already, and has no `ip`: what it prints is played."""
    with pytest.raises(StableDeviceError, match="no network address"):
        hand_over(adb, port=phone.port)
    phone.play("ip", 'echo "1.1.1.1 dev wlan0 src 127.0.0.1 uid 0"\n')
    assert str(hand_over(adb, port=phone.port)) == phone.address


def test_a_phone_at_a_cable_is_measured_over_its_network(phone: Phone, key_path: Path) -> None:
    """`localhost` stands for the cable, and 127.0.0.1 for the phone's Wi-Fi."""
    phone.play("ip", 'echo "1.1.1.1 dev wlan0 src 127.0.0.1 uid 0"\n')
    cable = f"localhost:{phone.port}"
    settings = replace(quick_settings(phone, key_path), address=cable, tcpip_port=phone.port)
    profiler = AdbProfiler(settings)
    first, again = profiler.profile([small(seed=1), small(seed=2)], Plan(visits=1))
    assert (first.failure, again.failure) == (None, None)
    assert str(profiler._session.adb.address) == phone.address
    phone.restart()  # and forgets that it was handed over
    (restarted,) = profiler.profile([small()], Plan(visits=1))
    assert restarted.failure is None
    profiler.close()
    assert str(profiler._session.adb.address) == cable


def test_attached_devices_are_those_of_the_inventory_and_of_usb_ports(write: Write, tmp_path: Path) -> None:
    """Files as Linux shows USB devices: two phones, one of them in the inventory, and a keyboard."""
    ports = {"1-1": ("0A1B2C3D", "42"), "1-2": ("R58M", "42"), "1-3": ("KEYS", "01")}
    for port, (serial, subclass) in ports.items():
        device, interface = tmp_path / "usb" / port, tmp_path / "usb" / f"{port}:1.0"
        for folder, files in (
            (device, {"serial": serial, "manufacturer": "Google", "product": "Pixel 3"}),
            (
                interface,
                {"bInterfaceClass": "ff", "bInterfaceSubClass": subclass, "bInterfaceProtocol": "01"},
            ),
        ):
            folder.mkdir(parents=True)
            for name, text in files.items():
                (folder / name).write_text(text + "\n")
    found = {device.name: device for device in attached_devices(read_lab(write(FULL)), tmp_path / "usb")}
    assert list(found) == ["adb:pixel6", "adb:pixel3", "serial:nucleo", "adb:usb:R58M"]
    assert found["adb:usb:R58M"].description == "Google Pixel 3, attached over USB"
    assert attached_devices(Lab(), tmp_path / "nowhere") == []
