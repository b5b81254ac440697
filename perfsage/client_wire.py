"""What the client sends and gets: MessagePack out, typed answers in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from perfsage.device import Device
from perfsage.errors import MissingExtraError, ServiceError
from perfsage.measurement import Measurement, Mode, Statistic
from perfsage.metrics import Metric
from perfsage.prediction import Interval, ModelSummary, OperatorCost, Prediction, PredictorInfo, Unavailable

try:
    import msgpack
except ImportError as error:
    raise MissingExtraError("msgpack", "client") from error

MEDIA_TYPE = "application/vnd.msgpack"


@dataclass(frozen=True, slots=True)
class Call:
    """A request to the service, which may be sent again if its answer is lost."""

    method: str
    path: str
    content: bytes = b""
    content_type: str = MEDIA_TYPE
    params: Sequence[tuple[str, str]] = ()
    headers: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    content: bytes


class RefusedError(ServiceError):
    """The service refused a request or one model of it; `status` and `type` are those of its problem."""

    def __init__(self, problem: Mapping[str, Any]) -> None:
        self.status = problem.get("status")
        self.type = str(problem.get("type", "about:blank"))
        where, hint = problem.get("where"), problem.get("hint")
        what = str(problem.get("detail") or problem.get("title") or "the service refused").rstrip(".")
        super().__init__(what, where=where, hint=hint)


def pack(value: Mapping[str, Any]) -> bytes:
    """Return a request's body."""
    packed: bytes = msgpack.packb(value)
    return packed


def unpack(reply: Reply) -> dict[str, Any]:
    """Return an answer's content; RefusedError for a problem, ServiceError for what no service sends."""
    kind = reply.headers.get("content-type", "").partition(";")[0]
    try:
        if kind in ("application/json", "application/problem+json"):
            import json

            value = json.loads(reply.content)
        else:
            value = msgpack.unpackb(reply.content)
    except (ValueError, msgpack.UnpackException, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise ServiceError(
            f"the answer with status {reply.status} cannot be read", hint="Is this a PerfSAGE service?"
        )
    if reply.status >= 400:
        raise RefusedError({"status": reply.status, **value})
    return value


def prediction_of(value: Mapping[str, Any]) -> Prediction:
    """Return what `Prediction.to_dict` gave."""
    return Prediction(
        model=ModelSummary(**value["model"]),
        device=value["device"],
        metrics={Metric(name): _metric(found) for name, found in value["metrics"].items()},
        operators=tuple(OperatorCost(**operator) for operator in value["operators"]),
        in_distribution=value["in_distribution"],
        warnings=tuple(value["warnings"]),
    )


def _metric(value: Mapping[str, Any]) -> Interval | Unavailable:
    if value["value"] is None:
        return Unavailable(value["reason"])
    return Interval(value["value"], value["low"], value["high"], value["level"])


def predictor_of(value: Mapping[str, Any]) -> PredictorInfo:
    """Return the predictor that an answer names."""
    return PredictorInfo(**value)


def device_of(value: Mapping[str, Any]) -> Device:
    """Return a device as `GET /v1/devices` lists it."""
    rest = {name: value[name] for name in ("name", "kind", "description", "tool", "tool_version", "source")}
    return Device(
        **rest,
        metrics={Metric(name): text["definition"] for name, text in value["metrics"].items()},
        unavailable={Metric(name): reason for name, reason in value["unavailable"].items()},
        descriptors=value["descriptors"],
    )


def device_words(device: Device) -> dict[str, Any]:
    """Return a device as `POST /v1/measurements` takes it."""
    return {
        "name": device.name,
        "kind": device.kind,
        "description": device.description,
        "metrics": {metric.value: text for metric, text in device.metrics.items()},
        "unavailable": {metric.value: reason for metric, reason in device.unavailable.items()},
        "descriptors": dict(device.descriptors),
        "tool": device.tool,
        "tool_version": device.tool_version,
        "source": device.source,
    }


def measurement_words(measurement: Measurement) -> dict[str, Any]:
    """Return a measurement as `POST /v1/measurements` takes it."""
    words: dict[str, Any] = {
        "model_id": measurement.model_id,
        "device": measurement.device,
        "metric": measurement.metric.value,
        "definition": measurement.definition,
        "value": measurement.value,
        "mode": measurement.mode.value,
        "statistic": measurement.statistic.value,
        "samples": list(measurement.samples),
        "tool": measurement.tool,
        "tool_version": measurement.tool_version,
        "conditions": dict(measurement.conditions),
        "measured_at": measurement.measured_at.isoformat(),
    }
    return words if measurement.unavailable is None else words | {"reason": measurement.unavailable}


def measurement_of(value: Mapping[str, Any]) -> Measurement:
    """Return a measurement as `GET /v1/measurements` lists it."""
    return Measurement(
        model_id=value["model_id"],
        graph_id=value["graph_id"],
        device=value["device"],
        metric=Metric(value["metric"]),
        definition=value["definition"],
        mode=Mode(value["mode"]),
        statistic=Statistic(value["statistic"]),
        tool=value["tool"],
        tool_version=value["tool_version"],
        value=value["value"],
        unavailable=value.get("reason"),
        samples=tuple(value["samples"]),
        conditions=value["conditions"],
        measured_at=datetime.fromisoformat(value["measured_at"]),
    )
