"""What both clients do, without saying how bytes travel.

A task is a generator: it yields calls that may be made at the same time, and is sent their replies.
"""

from __future__ import annotations

import os
import random
import uuid
from collections import OrderedDict
from collections.abc import Callable, Generator, Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from perfsage.client_wire import (
    Call,
    RefusedError,
    Reply,
    device_of,
    device_words,
    measurement_of,
    measurement_words,
    pack,
    prediction_of,
    unpack,
)
from perfsage.device import Device
from perfsage.errors import InvalidInputError, PerfsageError, ServiceError
from perfsage.graph import Graph, blank_weights, read_graph
from perfsage.graph.fingerprint import fingerprint
from perfsage.measurement import Measurement
from perfsage.prediction import Prediction

Result = TypeVar("Result")
Task = Generator[list[Call], list[Reply], Result]
Progress = Callable[[int, int], None]

BATCH_MODELS, FEWEST_MODELS = 256, 16
"""Models in a request: as many as share them out among all connections, since behind each may be a worker."""
BATCH_BYTES = 16 << 20
RETRIED = (408, 429, 502, 503, 504)
LONGEST_WAIT_S = 30.0


@dataclass(frozen=True, slots=True)
class Candidate:
    """A network of a search space: the service builds it, so no file is written or sent."""

    space: str
    architecture: str | None = None
    seed: int | None = None
    dtype: str = "int8"
    name: str | None = None


@dataclass(frozen=True, slots=True)
class Uploaded:
    """A model that the service has already, by the sha256 of its file."""

    sha256: str
    name: str | None = None


Model = str | os.PathLike[str] | bytes | Graph | Candidate | Uploaded


@dataclass(frozen=True, slots=True)
class Answer:
    """What the service says of one model: predictions, one a device, or the error that it had."""

    predictions: tuple[Prediction, ...] = ()
    error: PerfsageError | None = None

    def __getitem__(self, device: str) -> Prediction:
        """Return the prediction for a device; the model's error is raised where it had one."""
        if self.error is not None:
            raise self.error
        for prediction in self.predictions:
            if prediction.device == device:
                return prediction
        raise KeyError(device)


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A model as it is sent, and what its answer is remembered by."""

    place: int
    words: dict[str, Any]
    key: Hashable
    bytes: int = 64


class Core:
    """Everything about the service but the network: requests, answers, what was asked before."""

    def __init__(self, *, connections: int, cached_models: int, send_weights: bool) -> None:
        self._connections, self._cached_models, self._send_weights = connections, cached_models, send_weights
        self._known: OrderedDict[Hashable, tuple[Prediction, ...]] = OrderedDict()
        self._version: str | None = None

    def predict(
        self,
        models: Sequence[Model],
        devices: Sequence[str] | None,
        metrics: Sequence[str] | None,
        operators: bool,
        progress: Progress | None,
    ) -> Task[list[Answer]]:
        """Ask for all models, several batches at a time; answers come in the order of the models."""
        named, wanted = list(devices or ()), list(metrics or ())
        choice = {"devices": named, "metrics": wanted, "operators": operators}
        selection = (tuple(named), tuple(wanted), operators)
        answers: dict[int, Answer] = {}
        batches: list[list[_Prepared]] = [[]]
        share = min(max(-(-len(models) // self._connections), FEWEST_MODELS), BATCH_MODELS)
        for place, model in enumerate(models):
            prepared = self._prepare(place, model, selection)
            if isinstance(prepared, Answer):
                answers[place] = prepared
                continue
            if _is_full(batches[-1], prepared, share):
                if len(batches) == self._connections:
                    yield from self._ask(batches, choice, answers)
                    _report(progress, len(answers), len(models))
                    batches = []
                batches.append([])
            batches[-1].append(prepared)
        yield from self._ask([batch for batch in batches if batch], choice, answers)
        _report(progress, len(models), len(models))
        return [answers[place] for place in range(len(models))]

    def _ask(
        self, batches: list[list[_Prepared]], choice: dict[str, Any], answers: dict[int, Answer]
    ) -> Task[None]:
        if not batches:
            return
        calls = [
            Call("POST", "/v1/predictions", pack({"models": [model.words for model in batch], **choice}))
            for batch in batches
        ]
        for batch, reply in zip(batches, (yield calls), strict=True):
            self._take(batch, unpack(reply), answers)

    def _take(self, batch: list[_Prepared], value: dict[str, Any], answers: dict[int, Answer]) -> None:
        """Give each model of a batch its predictions or its error."""
        errors = {int(error["model"]): RefusedError(error) for error in value.get("errors", ())}
        found = [prediction_of(prediction) for prediction in value["predictions"]]
        good = len(batch) - len(errors)
        each, rest = divmod(len(found), good) if good else (0, len(found))
        if rest:
            raise ServiceError("the answer has another number of predictions than was asked for")
        self._notice(value["predictor"]["version"])
        position = 0
        for index, model in enumerate(batch):
            if index in errors:
                answers[model.place] = Answer(error=errors[index])
                continue
            predictions = tuple(found[position : position + each])
            position += each
            answers[model.place] = Answer(predictions)
            self._remember(model.key, predictions)

    def _prepare(self, place: int, model: Model, selection: Hashable) -> _Prepared | Answer:
        """Read a model and take its weights away; what was asked before is answered at once."""
        try:
            words, identity = self._words(model)
        except PerfsageError as error:
            return Answer(error=error)
        key = (identity, selection)
        if (known := self._known.get(key)) is not None:
            self._known.move_to_end(key)
            return Answer(known)
        if callable(words):
            words = words()
        size = sum(len(value) for value in words.values() if isinstance(value, bytes))
        return _Prepared(place, words, key, size + 64)

    def _words(self, model: Model) -> tuple[Any, Hashable]:
        """Return what is sent, or what makes it, and what identifies the model."""
        if isinstance(model, Candidate):
            given = {"space": model.space, "architecture": model.architecture, "seed": model.seed}
            words = {name: value for name, value in given.items() if value is not None}
            return words | {"dtype": model.dtype} | _named(model.name), ("candidate", model)
        if isinstance(model, Uploaded):
            return {"sha256": model.sha256} | _named(model.name), ("uploaded", model)
        name = os.fspath(model) if isinstance(model, str | os.PathLike) else None
        graph = model if isinstance(model, Graph) else read_graph(model)
        return lambda: self._bytes(model, graph) | _named(name), ("graph", fingerprint(graph), name)

    def _bytes(self, model: Model, graph: Graph) -> dict[str, bytes]:
        if graph.has_weights and not self._send_weights:
            return {"structure": blank_weights(graph)}
        data = bytes(graph.root.buffer.data) if graph.has_weights else _read(model)
        return {"tflite" if graph.has_weights else "structure": data}

    def _notice(self, version: str) -> None:
        """Forget what another predictor has answered."""
        if version != self._version:
            self._known.clear()
            self._version = version

    def _remember(self, key: Hashable, predictions: tuple[Prediction, ...]) -> None:
        self._known[key] = predictions
        while len(self._known) > self._cached_models:
            self._known.popitem(last=False)

    def upload(self, model: Model) -> Task[str]:
        """Upload a model without its weights and return its sha256."""
        graph = model if isinstance(model, Graph) else read_graph(_file(model))
        [content] = self._bytes(model, graph).values()
        path = f"/v1/models/{graph.model_id}"
        [reply] = yield [Call("PUT", path, content, "application/octet-stream")]
        return str(unpack(reply)["model_id"])

    def devices(self) -> Task[list[Device]]:
        """List the devices that the predictor knows."""
        [reply] = yield [Call("GET", "/v1/devices")]
        return [device_of(value) for value in unpack(reply)["devices"]]

    def info(self) -> Task[dict[str, Any]]:
        """Return versions and limits."""
        [reply] = yield [Call("GET", "/v1/info")]
        return unpack(reply)

    def add_measurements(self, measurements: Sequence[Measurement], devices: Sequence[Device]) -> Task[int]:
        """Add measurements under one idempotency key: a retry adds nothing twice."""
        content = pack(
            {
                "measurements": [measurement_words(measurement) for measurement in measurements],
                "devices": [device_words(device) for device in devices],
            }
        )
        headers = {"Idempotency-Key": str(uuid.uuid4())}
        [reply] = yield [Call("POST", "/v1/measurements", content, headers=headers)]
        return int(unpack(reply)["added"])

    def measurements(self, device: str | None, metric: str | None) -> Task[list[Measurement]]:
        """Return all measurements, page by page."""
        chosen = [(name, value) for name, value in (("device", device), ("metric", metric)) if value]
        found: list[Measurement] = []
        cursor: str | None = None
        while True:
            place = [("cursor", cursor)] if cursor else []
            [reply] = yield [Call("GET", "/v1/measurements", params=[*chosen, ("limit", "1000"), *place])]
            page = unpack(reply)
            found += [measurement_of(value) for value in page["measurements"]]
            if (cursor := page["next"]) is None:
                return found


def wait_seconds(attempt: int, reply: Reply | None) -> float:
    """Return how long to wait before a retry: as the service says, else longer each time, with jitter."""
    said = reply.headers.get("retry-after", "") if reply else ""
    if said.isdigit():
        return min(float(said), LONGEST_WAIT_S)
    return float(min(0.1 * 2**attempt, LONGEST_WAIT_S) * random.uniform(0.5, 1.0))


def _is_full(batch: list[_Prepared], further: _Prepared, most_models: int) -> bool:
    many = len(batch) >= most_models
    return bool(batch) and (many or sum(model.bytes for model in batch) + further.bytes > BATCH_BYTES)


def _report(progress: Progress | None, done: int, total: int) -> None:
    if progress is not None:
        progress(done, total)


def _named(name: str | None) -> dict[str, str]:
    return {} if name is None else {"name": name}


def _file(model: Model) -> str | os.PathLike[str] | bytes:
    if isinstance(model, str | os.PathLike | bytes):
        return model
    raise InvalidInputError("only a file, its bytes or a graph can be uploaded")


def _read(model: Model) -> bytes:
    """Return a structure's bytes as they were given."""
    if isinstance(model, bytes):
        return model
    if isinstance(model, str | os.PathLike):
        return Path(model).read_bytes()
    raise InvalidInputError("a graph without weights cannot be sent", hint="Give the structure's bytes.")
