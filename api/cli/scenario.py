"""`perfsage lab scenario`: what using a measured model costs in energy and carbon."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from api.cli.console import JsonOption, print_json, printable, stdout
from api.cli.help import examples

if TYPE_CHECKING:
    from api.workflows.scenario import Cost, Usage

GridOption = Annotated[
    str | None,
    typer.Option(
        "--grid",
        metavar="G:SOURCE",
        help="Also give carbon: grams of CO2e per kWh, and whose figure that is.",
    ),
]
EXAMPLES = examples(
    "perfsage lab scenario --db labels.db --device adb:pixel6 --rate 30 --minutes 60",
    "perfsage lab scenario --db labels.db -d adb:pixel6 --rate 1 --minutes 1440 --battery-wh 17.7",
    "perfsage lab scenario --db n.db -d adb:a --rate 5 --minutes 9 --grid '380:national statistics, 2025'",
)


def register(lab: typer.Typer) -> None:
    """Add the command to `perfsage lab`."""
    lab.command(short_help="Say what using measured models costs.", epilog=EXAMPLES)(scenario)


def scenario(
    db: Annotated[str, typer.Option(help="The database: a file, or a postgresql:// URL.")],
    device: Annotated[str, typer.Option("--device", "-d", help="The device whose energies are taken.")],
    rate: Annotated[float, typer.Option(help="Inferences a second.")],
    minutes: Annotated[float, typer.Option(help="For how long.")],
    battery_wh: Annotated[
        float | None, typer.Option(help="The battery, in watt hours, for the share that is used.")
    ] = None,
    grid: GridOption = None,
    json: JsonOption = False,
) -> None:
    """Say what it costs to run each measured model so often for so long.

    Net energy is what the inferences add; the total has the device's idle power of the whole time in it, and
    carbon is that of the total (of the net where no idle power was measured).
    """
    from api.workflows.scenario import Usage, scenario_costs
    from dataset.store import Store
    from perfsage.errors import InvalidInputError
    from profilers.power.carbon import GridIntensity

    if rate <= 0 or minutes <= 0 or (battery_wh is not None and battery_wh <= 0):
        raise InvalidInputError("--rate, --minutes and --battery-wh are above zero")
    intensity = None if grid is None else GridIntensity.parse(grid)
    usage = Usage(inferences_per_s=rate, minutes=minutes, battery_wh=battery_wh, grid=intensity)
    with Store.open(db, create=False) as store:
        costs = scenario_costs(store, device, usage)
    if json:
        print_json(_document(device, usage, costs))
        return
    _show(usage, costs)


def _document(device: str, usage: Usage, costs: list[Cost]) -> dict[str, Any]:
    from dataclasses import asdict

    from api.words import SCHEMA_VERSION

    return {
        "schema_version": SCHEMA_VERSION,
        "device": device,
        **asdict(usage),
        "costs": [asdict(c) for c in costs],
    }


def _show(usage: Usage, costs: list[Cost]) -> None:
    from rich.table import Table

    table = Table("network", "per inference", "busy", "net", "with idle", "battery", "carbon", "mode")
    for cost in costs:
        table.add_row(*_cells(cost))
    console = stdout()
    console.print(table)
    if usage.grid is not None:
        console.print(f"Carbon: {usage.grid.g_per_kwh:g} g CO2e per kWh ({usage.grid.source}).")


def _cells(cost: Cost) -> list[str]:
    name = printable(cost.network)
    if cost.energy is None:
        return [name, f"unknown: {cost.reason}", "", "", "", "", "", cost.mode]
    found = cost.energy
    return [
        name,
        f"{cost.net_mj_per_inference:.4g} mJ",
        f"{found.busy_share:.1%}",
        f"{found.net_mj / 1e3:.4g} J",
        "" if found.total_mj is None else f"{found.total_mj / 1e3:.4g} J",
        "" if found.battery_share is None else f"{found.battery_share:.2%}",
        "" if cost.carbon_mg is None else f"{cost.carbon_mg:.4g} mg",
        cost.mode,
    ]
