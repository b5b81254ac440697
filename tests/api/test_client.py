"""The client against a real service, and against networks that fail."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

import perfsage
from perfsage import load_predictor, read_graph
from perfsage.client import AsyncClient, Candidate, Client, RefusedError, Uploaded
from perfsage.device import Device
from perfsage.errors import InvalidModelError, ServiceError
from perfsage.graph import strip_weights
from perfsage.measurement import Measurement, Mode, Statistic
from perfsage.metrics import Metric
from tests.api.service import serving

pytestmark = pytest.mark.xdist_group("trained")


@pytest.fixture(scope="module")
def url(predictor: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    database = tmp_path_factory.mktemp("service") / "service.db"
    with serving(predictor, database=database) as http:
        yield str(http.base_url)


class Recorder(httpx.HTTPTransport):
    """The network, with a list of what was sent over it."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[httpx.Request] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.sent.append(request)
        return super().handle_request(request)


def test_answers_are_those_of_the_predictor_itself(
    url: str, predictor: Path, models: dict[str, Path]
) -> None:
    expected = load_predictor(predictor).predict([models["int8"]])
    with Client(url) as client:
        [answer] = client.predict([models["int8"]], operators=True)
    assert answer.predictions == expected.predictions


def test_a_generation_is_one_call_in_few_requests(url: str) -> None:
    network, seen = Recorder(), []
    candidates = [Candidate("kws", seed=seed % 5) for seed in range(1000)]
    with Client(url, transport=network) as client:
        answers = client.predict(
            candidates, devices=["tflm"], progress=lambda done, total: seen.append((done, total))
        )
    assert len(answers) == 1000
    assert len(network.sent) <= 4
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert seen[-1] == (1000, 1000)
    assert answers[0]["tflm"] == answers[5]["tflm"] != answers[1]["tflm"]


def test_weights_stay_here_unless_asked_for(url: str, models: dict[str, Path]) -> None:
    data = models["float32"].read_bytes()
    largest = max(map(bytes, _constants(data)), key=len)
    for send_weights in (False, True):
        network = Recorder()
        with Client(url, transport=network, send_weights=send_weights) as client:
            client.predict([data])
        [request] = network.sent
        body = request.read()
        assert (largest in body) == send_weights
        assert (largest[:64] in body) == send_weights
        if not send_weights:
            assert largest[:64] not in _inflated(body)


def _constants(data: bytes) -> Iterator[memoryview]:
    graph = read_graph(data)
    return (graph.buffer(index) for index in range(graph.buffers))


def _inflated(body: bytes) -> bytes:
    import zlib

    start = body.index(b"\x78\x01", body.index(b"PSGRAPH"))
    return zlib.decompressobj().decompress(body[start:])


def test_a_model_that_was_asked_for_is_not_sent_again(url: str, models: dict[str, Path]) -> None:
    network = Recorder()
    with Client(url, transport=network) as client:
        first = client.predict([models["int8"]])
        assert client.predict([models["int8"]]) == first
        assert len(network.sent) == 1
        client.predict([models["int8"]], devices=["tflm"])
        assert len(network.sent) == 2


def test_one_bad_model_fails_alone(url: str, models: dict[str, Path]) -> None:
    wrong = [b"no model", Candidate("kws", seed=1), Uploaded("0" * 64), Candidate("nowhere", seed=1)]
    with Client(url) as client:
        local, good, unknown, nowhere = client.predict(wrong)
        assert isinstance(local.error, InvalidModelError)
        assert {prediction.device for prediction in good.predictions} == {"tflm", "ethos-u55-128"}
        with pytest.raises(RefusedError, match="no model with this sha256"):
            unknown["tflm"]
        assert isinstance(nowhere.error, RefusedError)
        assert nowhere.error.type == "/errors/unknown-name"
        with pytest.raises(RefusedError, match="no device") as refused:
            client.predict(wrong, devices=["tpu-9"])
        assert refused.value.status == 422


def test_a_structure_is_sent_as_it_is_and_an_upload_is_named_by_its_hash(
    url: str, models: dict[str, Path]
) -> None:
    structure = strip_weights(models["int8"])
    with Client(url) as client:
        sha256 = client.upload(structure)
        assert sha256 == read_graph(models["int8"]).model_id
        named, sent = client.predict([Uploaded(sha256), structure])
    assert named.predictions == sent.predictions


def test_measurements_go_back_and_forth(url: str, models: dict[str, Path]) -> None:
    board = Device(
        name="my-board", kind="board", description="mine", metrics={Metric.LATENCY_MS: "wall_clock"}
    )
    measured = Measurement(
        model_id=read_graph(models["int8"]).model_id,
        graph_id=read_graph(models["int8"]).graph_id,
        device="my-board",
        metric=Metric.LATENCY_MS,
        definition="wall_clock",
        mode=Mode.MEASURED,
        statistic=Statistic.MIN,
        tool="stopwatch",
        tool_version="1",
        value=12.5,
        samples=(12.5, 13.0, 14.0),
        conditions={"threads": 1},
    )
    with Client(url) as client:
        client.upload(models["int8"])
        assert client.add_measurements([measured], devices=[board]) == 1
        [found] = client.measurements(device="my-board")
        assert client.measurements(device="your-board") == []
    assert found.measured_at == measured.measured_at.replace(microsecond=0)
    assert (found.value, found.samples, found.conditions) == (12.5, (12.5, 13.0, 14.0), {"threads": 1})


def test_the_asynchronous_client_gives_the_same_answers(url: str, models: dict[str, Path]) -> None:
    asked = [models["int8"], Candidate("kws", seed=2), b"no model"]

    async def ask() -> None:
        async with AsyncClient(url) as client:
            answers = await client.predict(asked)
            assert [device.name for device in await client.devices()] == [
                prediction.device for prediction in answers[0].predictions
            ]
            assert (await client.info())["schema_version"] == "1.0"
        with Client(url) as other:
            expected = other.predict(asked)
        assert [a.predictions for a in answers] == [a.predictions for a in expected]

    asyncio.run(ask())


class Failing(httpx.HTTPTransport):
    """A network that loses some answers, and refuses a request once."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.calls += 1
        if self.calls == 1:
            return httpx.Response(503, headers={"Retry-After": "0"})
        answer = super().handle_request(request)
        if self.calls == 2:
            answer.close()
            raise httpx.ReadError("lost")
        return answer


def test_lost_answers_are_asked_for_again_and_nothing_is_added_twice(
    url: str, models: dict[str, Path]
) -> None:
    network = Failing()
    with Client(url, transport=network) as client:
        [answer] = client.predict([Candidate("kws", seed=9)])
    assert answer.error is None
    assert network.calls == 3


def test_the_clients_are_names_of_the_package() -> None:
    assert (perfsage.Client, perfsage.AsyncClient) == (Client, AsyncClient)


def test_a_service_that_is_not_there_is_named() -> None:
    with Client("http://127.0.0.1:9", retries=0) as client, pytest.raises(ServiceError, match="reached"):
        client.info()


@pytest.mark.parametrize("content", [b"", b"<html>", b"\xc1", gzip.compress(b"{}", mtime=0), b"[]"])
def test_what_no_service_sends_is_an_error(content: bytes) -> None:
    network = httpx.MockTransport(lambda _: httpx.Response(200, content=content))
    with Client("http://x", transport=network) as client, pytest.raises(ServiceError, match="cannot be read"):
        client.info()
