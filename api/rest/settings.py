"""The service's settings, each from an option of `perfsage serve` or an environment variable PERFSAGE_*."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Limits and addresses of the service; `PERFSAGE_MAX_BODY_BYTES=1000000` sets `max_body_bytes`."""

    model_config = SettingsConfigDict(env_prefix="PERFSAGE_", use_attribute_docstrings=True)

    predictor: str = "default"
    """The folder or name of the predictor that answers."""
    host: str = "127.0.0.1"
    """The address to listen on."""
    port: int = Field(default=8000, ge=0, le=65535)
    """The port; 0 picks a free one."""
    database: str | None = None
    """The dataset's path or URL: uploaded models, measurements and API keys are kept there."""
    require_keys: bool | None = None
    """Whether requests need an API key; unset, they do as soon as `host` is not a loopback address."""
    requests_per_minute: int = Field(default=0, ge=0)
    """Requests of one key (without keys: of one address) in a minute; further ones get 429. 0: any number."""
    max_body_bytes: int = Field(default=64 << 20, ge=1)
    """A larger request body is refused with 413 while it arrives; a structure may inflate to as much."""
    max_models: int = Field(default=1024, ge=1)
    """Models in one request."""
    max_operators: int = Field(default=20_000, ge=1)
    """Operators of one model."""
    max_request_seconds: float = Field(default=60.0, gt=0)
    """Models of a batch that were not begun by then fail with `deadline`."""
    max_body_seconds: float = Field(default=60.0, gt=0)
    """A body that takes longer to arrive is refused with 408."""
    max_header_seconds: float = Field(default=10.0, gt=0)
    """A connection that has not sent a request's headers by then is closed."""
    max_send_seconds: float = Field(default=60.0, gt=0)
    """A connection that takes a part of an answer no faster is closed."""
    adaptations: str | None = None
    """The folder of adapted predictors, which several workers share; unset, they end with the process."""
    max_adaptation_seconds: float = Field(default=600.0, gt=0)
    """An adaptation that takes longer fails."""
    prediction_threads: int = Field(default=1, ge=1)
    """Predictions that run at once in a process. Raise `workers` instead: threads get in each other's way."""
    max_waiting: int = Field(default=8, ge=0)
    """Requests that may wait for a prediction thread; further ones are refused with 503."""
    cache_bytes: int = Field(default=64 << 20, ge=0)
    """Memory for answers that may be asked for again."""
    upload_bytes: int = Field(default=64 << 20, ge=0)
    """Memory for uploaded models; without a database, the ones used least recently are forgotten."""
    shutdown_seconds: int = Field(default=10, ge=0)
    """How long requests may finish after SIGTERM."""
    workers: int = Field(default=1, ge=1, le=64)
    """Processes that answer; they share nothing but the database."""
    predictor_poll_seconds: float = Field(default=5.0, ge=0)
    """How often the predictor's folder is looked at, to take a new predictor over; 0: only at SIGHUP."""
    log_format: Literal["plain", "json"] = "plain"
    """Whether the log has lines for people, or one JSON object a line."""
    tracing: bool = False
    """Whether each request is a span that goes to OTEL_EXPORTER_OTLP_ENDPOINT; needs the extra `tracing`."""

    @property
    def keys_required(self) -> bool:
        """Whether requests need an API key."""
        return not is_loopback(self.host) if self.require_keys is None else self.require_keys


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach `host`."""
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"
