"""`perfsage dataset check`: how far the labels of a database can be trusted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from api.cli.console import JsonOption, print_json, stdout
from api.cli.help import examples
from api.words import SCHEMA_VERSION

if TYPE_CHECKING:
    from rich.console import Console

    from api.workflows.vendor_check import VendorReport
    from dataset.quality import QualityReport
    from dataset.store import Store

EXAMPLES = examples(
    "perfsage dataset check --db kws.db",
    "perfsage dataset check --db kws.db --vendor 200 --json",
)


def register(group: typer.Typer) -> None:
    """Add the command to the group."""
    group.command(epilog=EXAMPLES)(check)


def check(
    db: Annotated[str, typer.Option(help="The database: a file, or a postgresql:// URL.")],
    vendor: Annotated[
        int, typer.Option(min=0, help="Compare so many random labels with Vela's and TFLM's own output.")
    ] = 0,
    seed: Annotated[int, typer.Option(help="Which random labels are compared.")] = 0,
    most: Annotated[int, typer.Option(min=0, help="How many outliers to show.")] = 20,
    json: JsonOption = False,
) -> None:
    """Report noise, outliers, duplicates, and repeated measurements that disagree.

    An outlier is a question, not an error: its value is far from that of networks of like cost. With
    --vendor, networks are built again and given to the vendors' programs; a difference is exit status 1.
    """
    from dataset.quality import check_quality
    from dataset.store import Store

    with Store.open(db, create=False) as store:
        report = check_quality(store)
        compared = _compare(store, vendor, seed) if vendor else None
    if json:
        extra = {"vendor": compared.to_dict()} if compared else {}
        print_json({"schema_version": SCHEMA_VERSION, **report.to_dict(), **extra})
    else:
        _show(report, most, stdout())
        if compared:
            _show_vendor(compared, stdout())
    if compared and compared.differences:
        raise typer.Exit(1)


def _compare(store: Store, count: int, seed: int) -> VendorReport:
    from api.workflows.vendor_check import compare_with_vendor

    return compare_with_vendor(store, count=count, seed=seed)


def _show(report: QualityReport, most: int, console: Console) -> None:
    from rich.table import Table

    console.print(f"{report.networks:,} networks, {report.duplicate_networks:,} with another one's structure")
    for noise in report.noise:
        console.print(
            f"noise of {noise.device} {noise.metric} {noise.definition}: median {noise.median:.2%}, "
            f"95 % below {noise.p95:.2%}, {noise.noisy:,} of {noise.values:,} above 10 %"
        )
    for again in report.disagreements:
        promise = " although the tool promises equal values" if again.exact and again.largest_spread else ""
        console.print(
            f"{again.repeated:,} repeated {again.device} {again.metric} {again.definition}: differ by "
            f"{again.median_spread:.2%} (median), {again.largest_spread:.2%} at most{promise}"
        )
    console.print(f"{len(report.outliers):,} of {report.values:,} values are far from those of like networks")
    table = Table("network", "device", "metric", "value", "expected", "score")
    for one in report.outliers[:most]:
        network = f"{one.space} {one.seed} {one.dtype}" if one.seed is not None else one.model_id[:12]
        quantity = f"{one.metric} {one.definition}"
        table.add_row(
            network, one.device, quantity, f"{one.value:.4g}", f"{one.expected:.4g}", f"{one.score:.1f}"
        )
    if table.row_count:
        console.print(table)


def _show_vendor(compared: VendorReport, console: Console) -> None:
    console.print(
        f"{compared.labels:,} labels of {compared.networks:,} networks compared with the vendors' programs: "
        f"{len(compared.differences):,} differ"
    )
    for one in compared.differences:
        said = one.reason or f"{one.vendor:.6g}"
        console.print(
            f"network {one.network}, {one.device} {one.metric} {one.definition}: {one.stored:.6g}, not {said}"
        )
