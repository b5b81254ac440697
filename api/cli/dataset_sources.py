"""`perfsage dataset sources` and `import-source`: measurements that others have published."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from api.cli.console import JsonOption, print_json, progress, stdout
from api.cli.help import examples
from api.words import SCHEMA_VERSION

if TYPE_CHECKING:
    from dataset.sources import Imported, Options

EXAMPLES = examples(
    "perfsage dataset import-source help-nasbench201 HELP/ --db phones.db",
    "perfsage dataset import-source mlperf-tiny tiny_results_v1.1/ --model kws=kws_ref_model.tflite "
    "--db mcu.db",
)


def register(group: typer.Typer) -> None:
    """Add the commands to the group."""
    group.command(epilog=examples("perfsage dataset sources"))(sources)
    group.command(name="import-source", epilog=EXAMPLES)(import_source)


def sources(json: JsonOption = False) -> None:
    """List the public measurement sets that can be imported, with their licences and files."""
    from dataset.sources import get_importer, source_names

    known = [get_importer(name).source for name in source_names()]
    if json:
        rows = [
            {"name": s.name, "title": s.title, "url": s.url, "licence": s.licence, "files": list(s.files),
             "note": s.note}
            for s in known
        ]  # fmt: skip
        print_json({"schema_version": SCHEMA_VERSION, "sources": rows})
        return
    for source in known:
        stdout().print(f"{source.name}: {source.title}, {source.url}, {source.licence or 'licence unknown'}")
        stdout().print(f"    files: {', '.join(source.files)}")
        stdout().print(f"    {source.note}")


def import_source(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="See `perfsage dataset sources`.")],
    path: Annotated[Path, typer.Argument(metavar="PATH", help="The fetched folder or file.")],
    db: Annotated[str, typer.Option(help="The database: a file, or a postgresql:// URL.")],
    model: Annotated[
        list[str] | None,
        typer.Option(help="NAME=FILE.tflite: a network that the source only names (repeatable)."),
    ] = None,
    licence: Annotated[
        str | None, typer.Option(help="The licence of a source that states none, or another one.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Add published measurements to a database: all of a source or, where anything is wrong, nothing."""
    done = _import(source, path, db, _options(model or [], licence))
    if json:
        print_json(
            {"schema_version": SCHEMA_VERSION, "source": done.source, "licence": done.licence,
             "devices": done.devices, "networks": done.networks, "measurements": done.measurements,
             "left_out": done.left_out}
        )  # fmt: skip
        return
    stdout().print(
        f"Imported {done.measurements:,} measurements of {done.networks:,} networks on {done.devices:,} "
        f"devices from {done.source} ({done.licence})."
    )
    for reason, count in done.left_out.items():
        stdout().print(f"Left out {count:,}: {reason}")


def _options(models: list[str], licence: str | None) -> Options:
    from dataset.sources import Options
    from perfsage.errors import InvalidInputError

    chosen: dict[str, Path] = {}
    for text in models:
        name, equals, file = text.partition("=")
        if not (name and equals and file):
            raise InvalidInputError(
                f"{text!r} does not name a model",
                where="--model",
                hint="Write NAME=FILE, such as kws=kws.tflite.",
            )
        chosen[name] = Path(file)
    return Options(models=chosen, licence=licence)


def _import(source: str, path: Path, db: str, options: Options) -> Imported:
    from dataset.filling import filling
    from dataset.sources import get_importer, import_source

    get_importer(source)
    bar = progress("networks")
    with filling(db) as store, bar:
        task = bar.add_task(source, total=None, note="")

        def show(state: Imported) -> None:
            bar.update(task, completed=state.networks, total=state.total_networks)

        return import_source(store, source, path, options, show)
