"""`perfsage lab scenario` on a real database; the measurements in it are made up."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from api.cli.main import app
from api.workflows.profile import record_of
from api.workflows.scenario import Usage, scenario_costs
from dataset.store import Store
from perfsage.device import Device
from perfsage.errors import InvalidInputError, UnknownNameError
from perfsage.measurement import Measurement, Mode, Statistic
from perfsage.metrics import Metric
from tests.profilers.networks import small

PHONE = Device(
    name="adb:pixel6",
    kind="phone",
    description="a phone",
    metrics={Metric.LATENCY_MS: "inference_mean", Metric.ENERGY_MJ: "net_of_idle"},
    tool="benchmark_model",
    tool_version="1",
)
BOARD = Device(
    name="adb:board",
    kind="board",
    description="a board without a monitor",
    metrics={Metric.LATENCY_MS: "inference_mean"},
    unavailable={Metric.ENERGY_MJ: "no power monitor"},
    tool="benchmark_model",
    tool_version="1",
)
USAGE = ("--rate", "30", "--minutes", "2")
Figures = list[tuple[Metric, str, float | None]]
GOOD: Figures = [
    (Metric.LATENCY_MS, "inference_mean", 25.0),
    (Metric.ENERGY_MJ, "net_of_idle", 20.0),
    (Metric.ENERGY_MJ, "gross", 32.5),
]


@pytest.fixture
def stored(tmp_path: Path) -> Callable[[Figures], Path]:
    """Store figures of one network, with the idle power that a phone's energies carry."""

    def store(figures: Figures) -> Path:
        model = small()
        measurements = [
            Measurement(
                model_id=model.graph.model_id,
                graph_id=model.graph.graph_id,
                device=PHONE.name,
                metric=metric,
                definition=definition,
                mode=Mode.MEASURED,
                statistic=Statistic.MEAN,
                tool="benchmark_model",
                tool_version="1",
                value=value,
                unavailable="plugged_in: a charger" if value is None else None,
                conditions={"idle_power_w": 0.5} if metric is Metric.ENERGY_MJ else {},
            )
            for metric, definition, value in figures
        ]
        with Store.open(tmp_path / "m.db") as opened:
            for device in (PHONE, BOARD):
                opened.add_device(device)
            opened.add_outcomes([record_of(model)], measurements)
        return tmp_path / "m.db"

    return store


Stored = Callable[[Figures], Path]


def test_a_scenario_with_battery_and_carbon(stored: Stored) -> None:
    words = ["lab", "scenario", "--db", str(stored(GOOD)), "-d", "adb:pixel6", *USAGE, "--battery-wh", "15"]
    done = CliRunner().invoke(app, [*words, "--grid", "360:an example", "--json"])
    assert done.exit_code == 0, done.output
    (cost,) = json.loads(done.stdout)["costs"]
    assert cost["energy"]["net_mj"] == 72_000.0, "the net energy of 3600 inferences, not the gross"
    assert cost["energy"]["total_mj"] == 132_000.0, "and 0.5 W for 2 minutes"
    assert cost["energy"]["battery_share"] == pytest.approx(132 / 54_000)
    assert cost["carbon_mg"] == pytest.approx(132 / 3.6e6 * 360e3)
    plain = CliRunner().invoke(app, words)
    assert "132 J" in plain.stdout and "0.24%" in plain.stdout and "CO2" not in plain.stdout


def test_what_is_not_known_is_said(stored: Stored) -> None:
    usage = Usage(inferences_per_s=30.0, minutes=2.0)
    with Store.open(stored([GOOD[0], (Metric.ENERGY_MJ, "net_of_idle", None)])) as store:
        (cost,) = scenario_costs(store, "adb:pixel6", usage)
        assert cost.energy is None and cost.reason == "its energy is not known: plugged_in: a charger"
        with pytest.raises(InvalidInputError, match=r"no energy was measured on adb:board: no power monitor"):
            scenario_costs(store, "adb:board", usage)
        with pytest.raises(UnknownNameError, match=r"It has: adb:board, adb:pixel6"):
            scenario_costs(store, "adb:nexus", usage)


def test_a_rate_that_the_device_does_not_manage(stored: Stored) -> None:
    with Store.open(stored(GOOD)) as store:
        (cost,) = scenario_costs(store, "adb:pixel6", Usage(inferences_per_s=50.0, minutes=1.0))
    assert cost.energy is None and cost.reason is not None and "The device manages 40 a second" in cost.reason


@pytest.mark.parametrize("grid", ["", "380", "380:", "x:y", "-1:table", "9999:table"])
def test_a_grid_needs_a_figure_and_its_source(stored: Stored, grid: str) -> None:
    words = ["lab", "scenario", "--db", str(stored(GOOD)), "-d", "adb:pixel6", *USAGE, "--grid", grid]
    assert CliRunner().invoke(app, words).exit_code != 0
