"""`perfsage lab` as the command line will show it."""

from __future__ import annotations

import json
from pathlib import Path

import typer
from typer.testing import CliRunner

from api.cli.lab import register
from tests.adb.phones import Phone

APP = typer.Typer()
register(APP)


@APP.command()
def other() -> None:
    """A second command, so that `lab` keeps its name."""


def test_check_prints_findings_and_fails_on_errors(phone: Phone, key_path: Path, tmp_path: Path) -> None:
    inventory = tmp_path / "lab.toml"
    inventory.write_text(f"[devices.here]\naddress = '{phone.address}'\nkey_path = '{key_path}'\n")
    done = CliRunner().invoke(APP, ["lab", "check", "--lab", str(inventory), "--json"])
    assert done.exit_code == 0, done.output
    findings = json.loads(done.stdout)["findings"]
    assert {f["state"] for f in findings} == {"ok"} and findings[0]["check"] == "connection"
    inventory.write_text("[monitors.bench]\nkind = 'hwmon'\npath = '/nowhere'\n")
    done = CliRunner().invoke(APP, ["lab", "check", "--lab", str(inventory)])
    assert done.exit_code == 1 and "cannot be read" in done.stdout


def test_tcpip_prints_the_new_address(phone: Phone, key_path: Path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setenv("PERFSAGE_ADB_KEY", str(key_path))
    phone.play("ip", 'echo "1.1.1.1 dev wlan0 src 127.0.0.1 uid 0"\n')
    done = CliRunner().invoke(APP, ["lab", "tcpip", phone.address, "--port", str(phone.port)])
    assert done.stdout == phone.address + "\n", done.output
