"""`perfsage serve`: the predictor over HTTP."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from api.cli.help import examples
from perfsage.errors import InvalidInputError, MissingExtraError

EXAMPLES = examples(
    "perfsage serve",
    "perfsage serve --predictor demo/predictor --port 8080",
    "curl --data-binary @model.tflite -H 'Content-Type: application/octet-stream' \\",
    "     http://127.0.0.1:8000/v1/predictions",
)


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command(short_help="Serve predictions over HTTP.", epilog=EXAMPLES)(serve)


def serve(
    host: Annotated[str | None, typer.Option(help="The address to listen on; 127.0.0.1 by default.")] = None,
    port: Annotated[int | None, typer.Option(help="The port; 8000 by default, 0 picks a free one.")] = None,
    predictor: Annotated[str | None, typer.Option(help="A predictor's folder, or its name.")] = None,
    db: Annotated[
        str | None, typer.Option(help="A database for API keys, uploaded models and measurements.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(help="Processes that answer, each with the predictor in memory.")
    ] = None,
) -> None:
    """Serve predictions over HTTP until Ctrl-C or SIGTERM; running requests are finished first.

    Every setting can also be an environment variable: see docs/settings.md. On an address that other machines
    can reach, requests need an API key of the database: see `perfsage keys`.
    """
    settings = _settings(host=host, port=port, predictor=predictor, database=db, workers=workers)
    if settings.keys_required and settings.database is None:
        raise InvalidInputError(
            "a service that needs API keys needs a database that holds them",
            where=f"{settings.host}:{settings.port}",
            hint="Name one with --db, or listen on 127.0.0.1.",
        )
    from perfsage.predictor import load_predictor

    _run(settings, load_predictor(settings.predictor))


def _settings(**options: Any) -> Any:
    try:
        from pydantic import ValidationError

        from api.rest.settings import Settings
    except ImportError as error:
        raise MissingExtraError(error.name or "pydantic-settings", "serve") from error
    try:
        return Settings(**{name: value for name, value in options.items() if value is not None})
    except ValidationError as error:
        first = error.errors()[0]
        where = f"setting {'.'.join(map(str, first['loc']))}"
        raise InvalidInputError(f"a setting is not valid: {first['msg']}", where=where) from error


def _run(settings: Any, predictor: Any) -> None:
    try:
        from api.rest.running import serve as run
    except ImportError as error:
        raise MissingExtraError(error.name or "fastapi", "serve") from error
    if not run(settings, predictor):
        raise InvalidInputError(
            "the service could not start", where=f"{settings.host}:{settings.port}", hint="Is the port taken?"
        )
