"""How uvicorn runs the service, in one process or in several."""

from __future__ import annotations

import os
import signal
import sys
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import uvicorn

from api.rest.app import create_app
from api.rest.operations_logs import logging_config
from api.rest.protocol import PatientProtocol, protocol_for
from api.rest.settings import Settings

if TYPE_CHECKING:
    from fastapi import FastAPI

    from perfsage.predictor import Predictor

SWITCH_SECONDS = 0.0005
WORKER_SECONDS = 60
"""How long a worker may take to load its predictor, or to say that it is alive."""


def serve(settings: Settings, predictor: Predictor) -> bool:
    """Serve until SIGINT or SIGTERM; False when the service could not start."""
    if settings.workers == 1:
        return _serve_here(settings, predictor)
    return _serve_in_workers(settings)


def _serve_here(settings: Settings, predictor: Predictor) -> bool:
    server = uvicorn.Server(
        uvicorn.Config(create_app(settings, predictor=predictor), **server_options(settings))
    )
    sys.setswitchinterval(SWITCH_SECONDS)
    # Once all is finished, uvicorn raises SIGTERM again: an orderly end shall be one, with status 0.
    signal.signal(signal.SIGTERM, lambda *_: None)
    server.run()
    return server.started


def _serve_in_workers(settings: Settings) -> bool:
    """Run `worker_app` in processes of their own, on one socket; those that die are started again."""
    from uvicorn.supervisors import Multiprocess

    os.environ |= environment(settings)
    options = server_options(settings) | {"factory": True, "workers": settings.workers}
    config = uvicorn.Config(
        "api.rest.running:worker_app", timeout_worker_healthcheck=WORKER_SECONDS, **options
    )
    with config.bind_socket() as socket:
        Multiprocess(config, sockets=[socket]).run()
    return True


def worker_app() -> FastAPI:
    """Return the application of one worker: it accepts requests once its predictor is loaded."""
    from perfsage.predictor import load_predictor

    sys.setswitchinterval(SWITCH_SECONDS)
    settings = Settings()
    return create_app(settings, predictor=load_predictor(settings.predictor))


def environment(settings: Settings) -> dict[str, str]:
    """Return the environment variables that give a worker the same settings."""
    given = {name: getattr(settings, name) for name in settings.model_fields_set}
    return {f"PERFSAGE_{name.upper()}": str(value) for name, value in given.items() if value is not None}


def server_options(settings: Settings) -> dict[str, Any]:
    """Return uvicorn's options for these settings."""
    has_others = settings.workers > 1
    return {
        "host": settings.host,
        "port": settings.port,
        "http": partial(_connection, settings.max_header_seconds, settings.max_send_seconds, has_others),
        "ws": "none",
        "timeout_graceful_shutdown": settings.shutdown_seconds,
        "server_header": False,
        "access_log": False,
        "log_level": "info",
        "log_config": logging_config(settings.log_format),
    }


def _connection(header: float, send: float, has_others: bool, **options: Any) -> PatientProtocol:
    """Return a connection's protocol; a class made at run time could not be sent to a worker."""
    return _protocol(header, send, has_others=has_others)(**options)


_protocol = cache(protocol_for)
