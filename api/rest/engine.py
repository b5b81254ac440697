"""Candidates in, encoded predictions out: what was predicted before is not predicted again."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from api.problems import problem_of
from api.rest.candidates import Candidate, Wanted
from api.rest.encode import FORMATS, tails
from api.rest.errors import DeadlineError
from api.rest.graphs import Lookup, read_candidate
from api.rest.lru import Lru
from api.rest.settings import Settings
from perfsage.answers import Subject
from perfsage.errors import PerfsageError, UnknownNameError
from perfsage.graph.fingerprint import fingerprint
from perfsage.metrics import Metric, parse_metric
from perfsage.prediction import SCHEMA_VERSION, Report
from perfsage.predictor import NamedGraph, graph_subjects, grouped

if TYPE_CHECKING:
    from perfsage.predictor import Predictor

_ENTRY_BYTES = 200


@dataclass(frozen=True, slots=True)
class Identity:
    """What is known of a candidate without reading it again."""

    fingerprint: bytes
    model_id: str


@dataclass(frozen=True, slots=True)
class Choice:
    """Which part of a prediction is wanted, in which form: with a fingerprint, the key of an answer."""

    devices: tuple[str, ...]
    metrics: tuple[str, ...]
    operators: bool
    packed: bool


@dataclass(slots=True)
class _Task:
    """A candidate on its way: `tails` once they are known, `error` when there are none."""

    candidate: Candidate | None
    identity: Identity | None = None
    tails: tuple[bytes, ...] | None = None
    error: PerfsageError | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """An encoded answer, and what it took."""

    body: bytes
    media_type: str
    models: int
    cached: int
    failed: int


Steps = Generator[None, None, Answer]
"""Work that may wait between its steps, and returns an answer."""


class Engine:
    """Predicts with one predictor; the caches live and die with it."""

    def __init__(self, predictor: Predictor, settings: Settings, lookup: Lookup) -> None:
        self.predictor = predictor
        self._settings, self._lookup = settings, lookup
        self._identities: Lru[Identity] = Lru(settings.cache_bytes // 8, lambda _: _ENTRY_BYTES)
        self._answers: Lru[tuple[bytes, ...]] = Lru(settings.cache_bytes, _tail_bytes)
        self._head = _head(predictor)

    @property
    def cache_bytes(self) -> int:
        """How much the kept answers take."""
        return self._answers.used

    def choice(
        self, devices: Sequence[str], metrics: Sequence[str], *, operators: bool, packed: bool
    ) -> Choice:
        """Return the choice of these devices and metrics, all where none are named; UnknownNameError."""
        known = {device.name: None for device in self.predictor.devices}
        for name in devices:
            if name not in known:
                hint = f"Known devices: {', '.join(known)}."
                raise UnknownNameError(f"the predictor knows no device {name!r}", hint=hint)
        wanted = tuple(dict.fromkeys(parse_metric(name).value for name in metrics))
        return Choice(tuple(dict.fromkeys(devices)) or tuple(known), wanted, operators, packed)

    def recall(self, wanted: Wanted, choice: Choice) -> Answer | None:
        """Return the answer if all of it is known already, in microseconds; None otherwise."""
        tasks = [self._recalled(model, choice) for model in wanted.models]
        if all(task.tails is not None for task in tasks):
            return self._assemble(wanted, tasks, choice, cached=len(tasks))
        return None

    def answer(self, wanted: Wanted, choice: Choice) -> Answer:
        """Return the answer; an error about one of several models stands beside the others' predictions."""
        steps = self.steps(wanted, choice)
        while True:
            try:
                next(steps)
            except StopIteration as end:
                return cast("Answer", end.value)

    def steps(self, wanted: Wanted, choice: Choice) -> Steps:
        """Make what `answer` returns in steps, each a call of the network, so that others get their turn."""
        deadline = time.monotonic() + self._settings.max_request_seconds
        tasks = [self._recalled(model, choice) for model in wanted.models]
        cached = sum(task.tails is not None for task in tasks)
        begun: dict[bytes, _Task] = {}
        fresh = self._fresh(tasks, begun, choice, deadline)
        for number, group in enumerate(grouped(fresh, lambda pair: pair[1].operators)):
            if number:
                yield
            self._predict(group, choice)
        self._share(tasks, begun)
        if wanted.single and tasks[0].error is not None:
            raise tasks[0].error
        return self._assemble(wanted, tasks, choice, cached)

    def _fresh(
        self, tasks: Sequence[_Task], begun: dict[bytes, _Task], choice: Choice, deadline: float
    ) -> Iterator[tuple[_Task, NamedGraph]]:
        """Read what has to be predicted; `begun` gets the first of those that are the same."""
        for task in tasks:
            graph = self._read(task, choice, deadline)
            if graph is None:
                continue
            assert task.identity is not None
            if begun.setdefault(task.identity.fingerprint, task) is task:
                yield task, graph

    def _recalled(self, model: Candidate | PerfsageError, choice: Choice) -> _Task:
        if isinstance(model, PerfsageError):
            return _Task(None, error=model)
        identity = self._identities.get(model.key)
        known = None if identity is None else self._answers.get((identity.fingerprint, choice))
        return _Task(model, identity, tails=known)

    def _read(self, task: _Task, choice: Choice, deadline: float) -> NamedGraph | None:
        """Return the model, unless its answer or its error is there already or is found meanwhile."""
        if task.tails is not None or task.candidate is None:
            return None
        try:
            if time.monotonic() > deadline:
                raise _late(self._settings.max_request_seconds)
            graph = read_candidate(task.candidate, self._lookup, self._settings)
            task.identity = Identity(fingerprint(graph), graph.model_id)
            self._identities.put(task.candidate.key, task.identity)
            task.tails = self._answers.get((task.identity.fingerprint, choice))
        except PerfsageError as error:
            task.error = error
            return None
        return NamedGraph(graph) if task.tails is None else None

    def _needs_arena(self, choice: Choice) -> bool:
        return self.predictor.needs_arena(choice.devices, choice.metrics or tuple(Metric))

    def _predict(self, group: Sequence[tuple[_Task, NamedGraph]], choice: Choice) -> None:
        """Predict a group together; what is wrong with one of them stays with that one."""
        graphs, arena = [graph for _, graph in group], self._needs_arena(choice)
        made = graph_subjects(graphs, arena=arena, accelerators=self.predictor.accelerators(choice.devices))
        known: list[_Task] = []
        subjects: list[Subject] = []
        for (task, _), found in zip(group, made, strict=True):
            if isinstance(found, PerfsageError):
                task.error = found
            else:
                known.append(task)
                subjects.append(found)
        if not subjects:
            return
        predictions = self.predictor.predict_subjects(subjects, choice.devices, operators=choice.operators)
        count = len(choice.devices)
        for place, task in enumerate(known):
            mine = predictions[place * count : (place + 1) * count]
            task.tails = tails(mine, choice.metrics, choice.operators, FORMATS[choice.packed])
            assert task.identity is not None
            self._answers.put((task.identity.fingerprint, choice), task.tails)

    @staticmethod
    def _share(tasks: Sequence[_Task], begun: Mapping[bytes, _Task]) -> None:
        """Give tasks for the same network what the first of them got."""
        for task in tasks:
            if task.tails is None and task.error is None and task.identity is not None:
                first = begun[task.identity.fingerprint]
                task.tails, task.error = first.tails, first.error

    def _assemble(self, wanted: Wanted, tasks: Sequence[_Task], choice: Choice, cached: int) -> Answer:
        form = FORMATS[choice.packed]
        predictions: list[bytes] = []
        errors: list[dict[str, Any]] = []
        for index, (task, name) in enumerate(zip(tasks, wanted.names, strict=True)):
            if task.tails is None or task.identity is None:
                assert task.error is not None
                errors.append({"model": index, "name": name, **problem_of(task.error, status=422)})
                continue
            opening = form.opening(name, task.identity.model_id)
            predictions += [opening + tail for tail in task.tails]
        body = form.whole(self._head, predictions, errors)
        return Answer(body, form.media_type, len(tasks), cached, len(errors))


def _head(predictor: Predictor) -> dict[str, Any]:
    head = Report(predictor.info, ()).to_dict()
    del head["predictions"]
    assert head["schema_version"] == SCHEMA_VERSION
    return head


def _late(seconds: float) -> DeadlineError:
    return DeadlineError(
        f"the request took longer than {seconds:g} s, so this model was not begun",
        hint="Send fewer models in one request; those that were predicted are remembered.",
    )


def _tail_bytes(value: tuple[bytes, ...]) -> int:
    return _ENTRY_BYTES + sum(map(len, value))
