"""The parts of the OpenAPI document that are not derived from types, with examples that a test sends."""

from __future__ import annotations

from typing import Any

from api.problems import TITLES
from api.rest.body import MULTIPART, RAW_TYPES
from api.rest.wire import JSON, MSGPACK, MSGPACK_TYPES

PROBLEM_TYPE = "application/problem+json"
_TEXT_OR_NULL = {"type": ["string", "null"]}
_NUMBER_OR_NULL = {"type": ["number", "null"]}
_BINARY = {"type": "string", "format": "binary"}

_REFUSALS = {
    400: "The body is malformed.",
    401: "An API key is needed.",
    403: "The API key does not allow this.",
    404: "There is no such resource.",
    408: "The body arrived too slowly.",
    409: "The request contradicts an earlier one.",
    413: "The body is too large.",
    415: "The body's type is not supported.",
    422: "A value, a name or a model cannot be used.",
    429: "Too many requests of this key.",
    500: "The service failed.",
    503: "The service is busy or not ready.",
}

PROBLEM = {
    "type": "object",
    "required": ["type", "title", "status", "detail", "instance", "where", "hint"],
    "properties": {
        "type": {"type": "string", "enum": [f"/errors/{slug}" for slug in TITLES]},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "instance": {"type": "string"},
        "where": _TEXT_OR_NULL,
        "hint": _TEXT_OR_NULL,
    },
}

METRIC_VALUE = {
    "type": "object",
    "required": ["value"],
    "properties": {
        "value": _NUMBER_OR_NULL,
        "low": {"type": "number"},
        "high": {"type": "number"},
        "level": {"type": "number"},
        "unit": {"type": "string"},
        "mode": {"type": "string"},
        "availability": {"type": "string"},
        "reason": {"type": "string"},
    },
}

PREDICTION = {
    "type": "object",
    "required": ["model", "device", "metrics", "operators", "in_distribution", "warnings"],
    "properties": {
        "model": {
            "type": "object",
            "required": ["path", "model_id", "graph_id", "operators", "macs"],
            "properties": {
                "path": _TEXT_OR_NULL,
                "model_id": _TEXT_OR_NULL,
                "graph_id": {"type": "string"},
                "operators": {"type": "integer"},
                "macs": {"type": "integer"},
            },
        },
        "device": {"type": "string"},
        "metrics": {"type": "object", "additionalProperties": METRIC_VALUE},
        "operators": {"type": "array", "items": {"type": "object"}},
        "in_distribution": {"type": "boolean"},
        "warnings": {"type": "array", "items": {"type": "string"}},
    },
}

REPORT = {
    "type": "object",
    "required": ["schema_version", "predictor", "predictions"],
    "properties": {
        "schema_version": {"type": "string"},
        "predictor": {"type": "object"},
        "predictions": {"type": "array", "items": PREDICTION},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["model", "name", "type", "title", "status", "detail"],
                "properties": {"model": {"type": "integer"}, "name": _TEXT_OR_NULL},
            },
        },
    },
}

MODEL = {
    "type": "object",
    "description": "Exactly one of sha256, tflite, structure and space; bytes are base64 in JSON.",
    "properties": {
        "name": {**_TEXT_OR_NULL, "maxLength": 1024},
        "sha256": {"type": "string", "pattern": "^[0-9a-f]{64}$"},
        "tflite": {"type": "string", "contentEncoding": "base64"},
        "structure": {"type": "string", "contentEncoding": "base64"},
        "space": {"type": "string"},
        "architecture": {"type": "string"},
        "seed": {"type": "integer", "minimum": 0},
        "dtype": {"type": "string", "enum": ["int8", "float32"]},
    },
}

_NAMES = {"type": "array", "items": {"type": "string"}}
BATCH = {
    "type": "object",
    "required": ["models"],
    "additionalProperties": False,
    "properties": {
        "models": {"type": "array", "minItems": 1, "maxItems": 1024, "items": MODEL},
        "devices": {"type": ["array", "null"], "items": {"type": "string"}},
        "metrics": {"type": ["array", "null"], "items": {"type": "string"}},
        "operators": {"type": "boolean", "default": True},
    },
}
BATCH_EXAMPLES = {
    "spaces": {
        "summary": "Two networks of a search space: no file is written",
        "value": {
            "models": [
                {"name": "first", "space": "kws", "seed": 3, "dtype": "int8"},
                {"name": "second", "space": "kws", "seed": 4, "dtype": "float32"},
            ],
            "metrics": ["latency_ms", "peak_memory_bytes"],
            "operators": False,
        },
    },
    "one fails alone": {
        "summary": "A hash that was never uploaded stands under `errors`",
        "value": {"models": [{"space": "kws", "seed": 3}, {"sha256": "00" * 32}], "operators": False},
    },
}

_FORM = {
    "type": "object",
    "required": ["model"],
    "properties": {"model": {"type": "array", "items": _BINARY}, "device": _NAMES, "metric": _NAMES},
}
REQUEST_BODY: dict[str, Any] = {
    "required": True,
    "content": {
        JSON: {"schema": BATCH, "examples": BATCH_EXAMPLES},
        **{kind: {"schema": _BINARY} for kind in (*MSGPACK_TYPES, *RAW_TYPES)},
        MULTIPART: {"schema": _FORM},
    },
}
STRUCTURE_BODY: dict[str, Any] = {
    "required": True,
    "description": "A .tflite file, or its weightless structure.",
    "content": {kind: {"schema": _BINARY} for kind in RAW_TYPES},
}


def answer(description: str, schema: dict[str, Any]) -> dict[str, Any]:
    """Return a response object for a value that is offered as JSON and as MessagePack."""
    return {
        "description": description,
        "content": {JSON: {"schema": schema}, MSGPACK: {"schema": _BINARY}},
    }


def listing(member: str, items: dict[str, Any], **others: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of an object with the schema's version and one list."""
    return {
        "type": "object",
        "required": ["schema_version", member, *others],
        "properties": {
            "schema_version": {"type": "string"},
            member: {"type": "array", "items": items},
            **others,
        },
    }


ANSWER = answer("Predictions, model by model, each on the devices in their order.", REPORT)
UPLOADED = answer(
    "The model's ids.",
    {
        "type": "object",
        "required": ["model_id", "graph_id"],
        "properties": {"model_id": {"type": "string"}, "graph_id": {"type": "string"}},
    },
)


def refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return response objects of problems; the ones that every resource shares are added."""
    content = {PROBLEM_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {
        status: {"description": _REFUSALS[status], "content": content}
        for status in sorted({*statuses, 401, 403, 429, 500})
    }


def complete(document: dict[str, Any]) -> dict[str, Any]:
    """Add the problem object and the API key to a generated document, and drop what is never answered."""
    components = document.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    schemas["Problem"] = PROBLEM
    components["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    document["security"] = [{}, {"key": []}]
    return document
