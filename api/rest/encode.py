"""Predictions as bytes, in pieces that can be kept and put together again without being encoded anew.

An answer is a head, the predictions and the errors. Of a prediction, only the model's path and id depend on
the request; all that follows them (`tail`) is the same for every model with the same graph and statistics.
Both JSON and MessagePack can be put together from such pieces.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import msgpack
import orjson

from api.rest.wire import JSON, MSGPACK
from perfsage.prediction import ModelSummary, Prediction

Objects = list[dict[str, Any]]
_SAMPLE = Prediction(ModelSummary(None, None, "", 0, 0), "", {}, (), True).to_dict()


class Format(Protocol):
    """How one media type is put together."""

    media_type: str

    def tail(self, prediction: dict[str, Any]) -> bytes:
        """Return what follows the model's path and id."""
        ...

    def opening(self, path: str | None, model_id: str | None) -> bytes:
        """Return a prediction's beginning, up to the model's id."""
        ...

    def whole(
        self, head: dict[str, Any], predictions: Sequence[bytes], errors: list[dict[str, Any]]
    ) -> bytes:
        """Return the answer."""
        ...


class JsonFormat:
    """application/json."""

    media_type = JSON
    _SKIPPED = len(b'{"model":{"path":null,"model_id":null,')

    def tail(self, prediction: dict[str, Any]) -> bytes:
        """Return the JSON text after the model's path and id, which are null here."""
        return orjson.dumps(prediction)[self._SKIPPED :]

    def opening(self, path: str | None, model_id: str | None) -> bytes:
        """Return a JSON object's beginning."""
        return b'{"model":{"path":%b,"model_id":%b,' % (orjson.dumps(path), orjson.dumps(model_id))

    def whole(
        self, head: dict[str, Any], predictions: Sequence[bytes], errors: list[dict[str, Any]]
    ) -> bytes:
        """Return one JSON object."""
        start = orjson.dumps(head)[:-1]
        end = b',"errors":%b}' % orjson.dumps(errors) if errors else b"}"
        return b"".join((start, b',"predictions":[', b",".join(predictions), b"]", end))


class MsgpackFormat:
    """application/vnd.msgpack."""

    media_type = MSGPACK
    _SKIPPED = len(msgpack.packb({"model": {"path": None, "model_id": None}}))
    _MEMBERS, _MODEL_MEMBERS = len(_SAMPLE), len(_SAMPLE["model"])

    def tail(self, prediction: dict[str, Any]) -> bytes:
        """Return the bytes after the model's path and id, which are nil here."""
        packed: bytes = msgpack.packb(prediction)
        return packed[self._SKIPPED :]

    def opening(self, path: str | None, model_id: str | None) -> bytes:
        """Return a map's beginning; maps of up to 15 members have one byte of header."""
        outer, inner = 0x80 + self._MEMBERS, 0x80 + self._MODEL_MEMBERS
        rest = (msgpack.packb(path), msgpack.packb(model_id))
        return b"%c\xa5model%c\xa4path%b\xa8model_id%b" % (outer, inner, *rest)

    def whole(
        self, head: dict[str, Any], predictions: Sequence[bytes], errors: list[dict[str, Any]]
    ) -> bytes:
        """Return one map."""
        packer = msgpack.Packer()
        members: list[bytes] = [packer.pack_map_header(len(head) + 1 + bool(errors))]
        for name, value in head.items():
            members += [packer.pack(name), packer.pack(value)]
        members += [packer.pack("predictions"), packer.pack_array_header(len(predictions)), *predictions]
        if errors:
            members += [packer.pack("errors"), packer.pack(errors)]
        return b"".join(members)


FORMATS: dict[bool, Format] = {False: JsonFormat(), True: MsgpackFormat()}
"""By whether MessagePack is wanted."""


def tails(
    predictions: Sequence[Prediction], metrics: Sequence[str], operators: bool, form: Format
) -> tuple[bytes, ...]:
    """Return the tail of each prediction, with only `metrics` of its metrics, or all where none are named."""
    made = []
    for prediction in predictions:
        value = prediction.to_dict()
        value["model"]["path"] = value["model"]["model_id"] = None
        if metrics:
            value["metrics"] = {name: value["metrics"][name] for name in metrics}
        if not operators or (metrics and "latency_ms" not in metrics):
            value["operators"] = []
        made.append(form.tail(value))
    return tuple(made)
