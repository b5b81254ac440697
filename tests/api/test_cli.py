"""The command line: each command on real models, as people and as programs use it."""

from __future__ import annotations

import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from importlib.metadata import version
from pathlib import Path

import pytest

from api.cli.main import app
from tests.api.support import PROGRAM, ROOT, Cli

COMMANDS = [
    [],
    ["inspect"],
    ["devices"],
    ["profile"],
    ["collect"],
    ["dataset"],
    ["dataset", "stats"],
    ["train"],
]
COMMANDS += [
    ["dataset", "upgrade"],
    ["dataset", "export"],
    ["dataset", "import"],
    ["dataset", "build"],
    ["dataset", "check"],
    ["dataset", "coverage"],
    ["dataset", "import-source"],
    ["dataset", "sources"],
    ["predict"],
    ["serve"],
    ["reorder"],
    ["explain"],
]


def test_version(cli: Cli) -> None:
    assert cli("--version").out == f"perfsage {version('perfsage')}\n"


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_has_help_with_examples(cli: Cli, command: list[str]) -> None:
    done = cli(*command, "--help")
    assert (done.code, done.err) == (0, "")
    if command and command != ["dataset"]:
        assert f"Examples:\n    perfsage {' '.join(command)}" in done.out


def test_help_imports_none_of_the_heavy_packages() -> None:
    heavy = "{'numpy', 'torch', 'sqlalchemy', 'pandas', 'onnxruntime', 'fastapi'}"
    script = f"import sys, api.cli.main as m; m.run(['--help']); print({heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "set()", done.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_for_the_shell(program: Cli, shell: str) -> None:
    done = program(env={"PATH": "/usr/bin", "_PERFSAGE_COMPLETE": f"source_{shell}"})
    assert "_PERFSAGE_COMPLETE" in done.out


def test_inspect_says_what_a_model_is_made_of(cli: Cli, models: dict[str, Path]) -> None:
    [model] = cli("inspect", models["int8"], "--json").json["models"]
    assert model["macs"] > 0
    assert model["unknown_costs"] == []
    assert model["inputs"][0]["type"] == "INT8"
    assert model["memory_plan"]["peak_bytes"] > 0
    assert sum(row["macs"] for row in model["operators"]) == model["macs"]
    assert len(model["memory_plan"]["steps"]) == len(model["operators"]) + 1


def test_inspect_shows_a_table_and_the_memory_plan(cli: Cli, models: dict[str, Path], tmp_path: Path) -> None:
    done = cli("inspect", models["int8"], "--memory", "--svg", tmp_path / "plan.svg")
    assert "CONV_2D" in done.out
    assert "in the file's order" in done.out
    assert "Most is alive at operator 0." in done.out
    picture = ElementTree.parse(tmp_path / "plan.svg").getroot()
    assert "Memory plan of kws_int8.tflite" in (picture.find("{*}title").text or "")  # type: ignore[union-attr]


def test_devices_names_those_that_need_no_hardware(cli: Cli) -> None:
    listed = {device["name"]: device for device in cli("devices", "--json").json["devices"]}
    assert {"host-cpu", "tflm", "ethos-u55-128"} <= set(listed)
    assert listed["tflm"]["metrics"]["peak_memory_bytes"] == {"unit": "bytes", "definition": "arena_total"}
    assert "latency_ms" in listed["tflm"]["unavailable"]
    assert [listed[name]["mode"] for name in ("host-cpu", "tflm", "ethos-u55-128")] == [
        "measured", "measured", "simulated",
    ]  # fmt: skip


def test_profile_measures_and_stores(cli: Cli, models: dict[str, Path], tmp_path: Path) -> None:
    database = tmp_path / "profile.db"
    done = cli("profile", models["int8"], "-d", "tflm", "-d", "ethos-u55-128", "--db", database, "--json")
    found = {
        (m["device"], m["metric"], m["definition"]): m["value"]
        for outcome in done.json["outcomes"]
        for m in outcome["measurements"]
    }
    assert found["tflm", "peak_memory_bytes", "arena_total"] > 0
    assert found["ethos-u55-128", "latency_ms", "estimate"] > 0
    stats = cli("dataset", "stats", "--db", database, "--json").json
    assert stats["networks"] == 1
    cli("dataset", "export", "--db", database, "-o", tmp_path / "export")
    cli("dataset", "import", tmp_path / "export", "--db", tmp_path / "copy.db")
    assert cli("dataset", "stats", "--db", tmp_path / "copy.db", "--json").json == stats


def test_profile_of_a_float_model_on_an_npu_is_unavailable(cli: Cli, models: dict[str, Path]) -> None:
    [outcome] = cli("profile", models["float32"], "-d", "ethos-u55-128", "--json").json["outcomes"]
    assert {m["value"] for m in outcome["measurements"]} == {None}
    assert {m["availability"] for m in outcome["measurements"]} == {"unavailable"}


def test_profile_checks_names_before_it_measures(cli: Cli, models: dict[str, Path]) -> None:
    done = cli("profile", models["int8"], "-d", "tflm", "-d", "tpu-9")
    assert (done.code, "tpu-9" in done.err, "host-cpu" in done.err) == (11, True, True)


def test_reorder_writes_a_model_that_needs_no_more(cli: Cli, models: dict[str, Path], tmp_path: Path) -> None:
    output = tmp_path / "reordered.tflite"
    sizes = cli("reorder", models["int8"], "-o", output, "--json").json
    assert sizes["peak_bytes_after"] <= sizes["peak_bytes_before"]
    assert sizes["outputs_identical"] is True
    [model] = cli("inspect", output, "--json").json["models"]
    assert model["memory_plan"]["peak_bytes"] == sizes["peak_bytes_after"]


def test_ctrl_c_is_clean(tmp_path: Path) -> None:
    import signal

    command = [
        *PROGRAM,
        "collect",
        "--space",
        "kws",
        "--count",
        "2000",
        "-d",
        "tflm",
        "--db",
        tmp_path / "c.db",
    ]

    def heed_interrupts() -> None:  # a shell's background jobs ignore them
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    with subprocess.Popen(
        command, cwd=ROOT, stderr=subprocess.PIPE, text=True, preexec_fn=heed_interrupts
    ) as process:
        while not (tmp_path / "c.db").exists() and process.poll() is None:
            time.sleep(0.05)
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=20) == 130
        assert process.stderr is not None
        assert process.stderr.read().splitlines()[-1] == "Interrupted."


def test_the_console_script_is_installed() -> None:
    script = Path(sys.executable).with_name("perfsage")
    assert subprocess.run([script, "--version"], capture_output=True, check=True).stdout.startswith(
        b"perfsage "
    )
    assert app.info.name == "perfsage"
