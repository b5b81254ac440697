"""`perfsage lab`: the inventory of phones and instruments."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from api.cli import emulate, scenario
from api.cli.console import JsonOption, print_json, printable, stdout
from api.cli.help import examples

LabOption = Annotated[
    Path | None, typer.Option("--lab", help="The inventory; without it, the usual places are looked at.")
]
lab = typer.Typer(
    name="lab",
    no_args_is_help=True,
    help="Check devices and instruments of lab.toml; emulate boards; say what use costs.",
)
emulate.register(lab)
scenario.register(lab)


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.add_typer(lab, short_help="Check phones and instruments; emulate boards.")


@lab.command(
    "check",
    short_help="Try everything in the inventory.",
    epilog=examples("perfsage lab check", "perfsage lab check --lab bench.toml --json"),
)
def check(inventory: LabOption = None, json: JsonOption = False) -> None:
    """Try every phone, monitor and switch, and say what is wrong and how to mend it.

    The exit status is 1 where something does not work.
    """
    from profilers.lab import find_lab, read_lab
    from profilers.lab_check import check_lab

    findings = list(check_lab(read_lab(inventory) if inventory else find_lab()))
    if json:
        print_json({"schema_version": "1.0", "findings": [asdict(finding) for finding in findings]})
    else:
        from rich.table import Table

        table = Table("subject", "check", "state", "finding", "what to do")
        for found in findings:
            table.add_row(found.subject, found.check, found.state, printable(found.message), found.hint)
        stdout().print(table)
    if any(finding.state == "error" for finding in findings):
        raise typer.Exit(1)


@lab.command("tcpip", short_help="Hand a phone over to Wi-Fi.", epilog=examples("perfsage lab tcpip pixel6"))
def tcpip(
    name: Annotated[str, typer.Argument(help="A phone of the inventory, or its address.")],
    port: Annotated[int, typer.Option(min=1, max=65535, help="The port to listen on.")] = 5555,
) -> None:
    """Let a phone that is connected over USB listen on the network, and print its address there."""
    from profilers.adb.transport import Adb
    from profilers.lab import find_lab
    from profilers.lab_tcpip import hand_over

    settings = find_lab().phone(name).settings
    with Adb(settings.address, key_path=settings.key_path) as adb:
        typer.echo(hand_over(adb, port=port))
