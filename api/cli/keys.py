"""`perfsage keys`: who may use the service, and for what."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from api.cli.console import JsonOption, print_json, printable, stdout
from api.cli.help import examples
from perfsage.errors import MissingExtraError

if TYPE_CHECKING:
    from api.rest.keys import Key

app = typer.Typer(
    name="keys",
    help="Create, list and revoke the service's API keys.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

DbOption = Annotated[
    str,
    typer.Option(
        help="The service's database: a file, or a postgresql:// URL.",
        envvar="PERFSAGE_DATABASE",
        show_envvar=True,
    ),
]
ScopeOption = Annotated[
    list[str] | None,
    typer.Option(help="What the key may do: predict (the default), write or admin; may be repeated."),
]


def register(parent: typer.Typer) -> None:
    """Add the group to the command line."""
    parent.add_typer(app)


@app.command(epilog=examples("perfsage keys create nas-loop --db perfsage.db --scope predict --scope write"))
def create(
    name: Annotated[str, typer.Argument(help="Whose key it is, or what for.")],
    db: DbOption,
    scope: ScopeOption = None,
    json: JsonOption = False,
) -> None:
    """Create a key and print it: it is shown this once, and only its hash is kept."""
    with _store(db) as store:
        key, text = _keys(store).create(name, scope or ["predict"])
    if json:
        print_json({"schema_version": "1.0", "key": text, **_document(key)})
    else:
        typer.echo(text)


@app.command("list", epilog=examples("perfsage keys list --db perfsage.db"))
def list_keys(db: DbOption, json: JsonOption = False) -> None:
    """List all keys, also revoked ones; their secrets are not kept anywhere."""
    with _store(db) as store:
        found = _keys(store).list()
    if json:
        print_json({"schema_version": "1.0", "keys": [_document(key) for key in found]})
    else:
        _show(found)


@app.command(epilog=examples("perfsage keys revoke 0123456789ab --db perfsage.db"))
def revoke(
    key_id: Annotated[str, typer.Argument(metavar="ID", help="The key's id, as `list` shows it.")],
    db: DbOption,
    json: JsonOption = False,
) -> None:
    """End a key; services that run refuse it within seconds."""
    with _store(db) as store:
        key = _keys(store).revoke(key_id)
    if json:
        print_json({"schema_version": "1.0", **_document(key)})
    else:
        stdout().print(f"The key {key.id} ({printable(key.name)}) is revoked.")


def _store(db: str) -> Any:
    from dataset.store import Store

    return Store.open(db)


def _keys(store: Any) -> Any:
    try:
        from api.rest.keys import KeyStore
    except ImportError as error:
        raise MissingExtraError(error.name or "sqlalchemy", "serve") from error
    return KeyStore(store)


def _document(key: Key) -> dict[str, Any]:
    return {
        "id": key.id,
        "name": key.name,
        "scopes": list(key.scopes),
        "created_at": _time(key.created_at),
        "revoked_at": _time(key.revoked_at),
    }


def _time(seconds: int | None) -> str | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat()


def _show(keys: list[Key]) -> None:
    from rich.table import Table

    table = Table("id", "name", "scopes", "created", "revoked", box=None)
    for key in keys:
        row = (key.id, printable(key.name), " ".join(key.scopes))
        table.add_row(*row, _time(key.created_at), _time(key.revoked_at) or "")
    stdout().print(table)
