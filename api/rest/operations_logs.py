"""The service's log: lines for people, or one JSON object a line, each with its request's id."""

from __future__ import annotations

import json
import logging
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

REQUEST_ID: ContextVar[str | None] = ContextVar("request_id", default=None)
TRACE_ID: ContextVar[str | None] = ContextVar("trace_id", default=None)


class PlainFormatter(logging.Formatter):
    """Time, level, request and message."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s [%(request)s] %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        """Return the line; `-` stands where no request is served."""
        record.request = REQUEST_ID.get() or "-"
        return super().format(record)


class JsonFormatter(logging.Formatter):
    """One JSON object a line; what a message is made of stands beside it under `fields`' names."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the object as text, in UTC and without line breaks."""
        value: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            "request_id": REQUEST_ID.get(),
            "trace_id": TRACE_ID.get(),
        }
        value |= getattr(record, "fields", {})
        if record.exc_info:
            value["exception"] = self.formatException(record.exc_info)
        return json.dumps({name: item for name, item in value.items() if item is not None}, default=str)


def logging_config(log_format: str) -> dict[str, Any]:
    """Return the configuration of the service's loggers, as `logging.config.dictConfig` takes it."""
    formatter = {"json": JsonFormatter, "plain": PlainFormatter}[log_format]
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"service": {"()": formatter}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "service"}},
        "loggers": {
            name: {"handlers": ["stderr"], "level": "INFO", "propagate": False}
            for name in ("uvicorn", "perfsage.rest", "perfsage.access")
        },
    }
