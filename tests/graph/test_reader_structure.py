"""Graph ids, and structures without weights."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable

import pytest
from ai_edge_litert import schema_py_generated as s

from perfsage.errors import InvalidModelError
from perfsage.graph import Graph, read_graph, read_structure, strip_weights
from perfsage.graph.weightless import STATISTICS_RECORDS
from tests.graph.reader_models import (
    MADE,
    REAL_FILES,
    buffer,
    chain,
    control_flow,
    opcode,
    pack,
    tensor,
    unusual,
)

CASES = [*(pack(make()) for make in MADE.values()), *(path.read_bytes() for path in REAL_FILES[::6])]


def graph_id(made: s.ModelT) -> str:
    return read_graph(pack(made)).graph_id


def renumber_buffers(made: s.ModelT) -> None:
    made.buffers = [made.buffers[0], buffer(), *made.buffers[1:]]
    for item in made.subgraphs[0].tensors:
        item.buffer += 1 if item.buffer else 0


def add_unused_parts(made: s.ModelT) -> None:
    made.subgraphs[0].tensors.append(tensor([5]))
    made.operatorCodes.insert(0, opcode(s.BuiltinOperator.ADD))
    for step in made.subgraphs[0].operators:
        step.opcodeIndex += 1


def move_tensors(made: s.ModelT) -> None:
    main = made.subgraphs[0]
    last = len(main.tensors) - 1
    main.tensors.reverse()
    main.inputs, main.outputs = [last - i for i in main.inputs], [last - i for i in main.outputs]
    for step in main.operators:
        step.inputs = [last - i if i >= 0 else -1 for i in step.inputs]
        step.outputs = [last - i for i in step.outputs]
        step.intermediates = [last - i for i in step.intermediates or []]


def rename(made: s.ModelT) -> None:
    made.description, made.subgraphs[0].name = b"other", b"other"
    for item in made.subgraphs[0].tensors:
        item.name = b"other"


def other_weights(made: s.ModelT) -> None:
    for item in made.buffers[1:]:
        item.data = [9] * len(item.data)


def rescale(made: s.ModelT) -> None:
    made.subgraphs[0].tensors[0].quantization = s.QuantizationParametersT()
    made.subgraphs[0].tensors[0].quantization.scale = [0.25]
    made.operatorCodes[0].version = 5


@pytest.mark.parametrize(
    "change", [renumber_buffers, add_unused_parts, move_tensors, rename, other_weights, rescale]
)
def test_the_graph_id_ignores(change: Callable[[s.ModelT], None]) -> None:
    made = chain(3)
    change(made)
    assert graph_id(made) == graph_id(chain(3))


def main(made: s.ModelT) -> s.SubGraphT:
    return made.subgraphs[0]


@pytest.mark.parametrize(
    "change",
    [
        lambda m: setattr(main(m).operators[1].builtinOptions, "strideW", 2),
        lambda m: setattr(main(m).operators[1].builtinOptions, "dilationHFactor", 2),
        lambda m: setattr(main(m).tensors[0], "shape", [1, 8, 8, 4]),
        lambda m: setattr(main(m).tensors[0], "type", s.TensorType.INT8),
        lambda m: setattr(m.buffers[1], "data", None),
        lambda m: setattr(main(m).tensors[0], "isVariable", True),
        lambda m: setattr(main(m).operators[2], "inputs", [2, 5, -1]),
        lambda m: setattr(main(m), "outputs", [4]),
        lambda m: setattr(main(m), "outputs", [6, 4]),
        lambda m: setattr(m.operatorCodes[0], "deprecatedBuiltinCode", s.BuiltinOperator.DEPTHWISE_CONV_2D),
    ],
)
def test_the_graph_id_depends_on(change: Callable[[s.ModelT], None]) -> None:
    made = chain(3)
    change(made)
    if made.operatorCodes[0].deprecatedBuiltinCode != s.BuiltinOperator.CONV_2D:
        made.operatorCodes[0].builtinCode = made.operatorCodes[0].deprecatedBuiltinCode
    assert graph_id(made) != graph_id(chain(3))


def test_the_graph_id_depends_on_custom_codes_options_and_parameters() -> None:
    changed = [unusual() for _ in range(4)]
    changed[0].operatorCodes[0].customCode = b"Yours"
    changed[1].subgraphs[0].operators[0].customOptions = [7, 8]
    changed[2].subgraphs[0].operators[1].builtinOptions.newShape = [-1, 2]
    changed[3].buffers[1].data[0] = 4
    assert len({graph_id(made) for made in [unusual(), *changed]}) == 5


def test_real_models_that_differ_only_in_weights_share_a_graph_id() -> None:
    by_name = {path.name: path for path in REAL_FILES}
    birds = [path for name, path in by_name.items() if "mobilenet_v2_1.0_224_inat" in name]
    if len(birds) < 2:
        pytest.skip("no real models in reach")
    assert len({read_graph(path).graph_id for path in birds}) == 2


def everything(graph: Graph) -> list[object]:
    shown: list[object] = [
        graph.model_id,
        graph.graph_id,
        graph.file_bytes,
        graph.signatures,
        graph.description,
    ]
    shown += [graph.metadata, [graph.buffer_bytes(index) for index in range(graph.buffers)]]
    for sub in graph.subgraphs:
        shown += [sub.name, sub.inputs, sub.outputs]
        for o in sub.operators:
            shown.append((o.type, o.version, o.inputs, o.outputs, o.intermediates, dict(o.attributes)))
            shown.append((o.custom_options, o.mutating_variable_inputs))
        for t in sub.tensors:
            shown.append((t.name, t.type, t.shape, t.shape_signature, t.buffer, t.bytes, t.quantization))
            shown.append((t.is_constant, t.is_variable, t.has_rank, t.statistics()))
    return shown


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("data", CASES, ids=range(len(CASES)))
def test_a_structure_shows_what_the_model_shows(data: bytes, compress: bool) -> None:
    original = read_graph(data)
    stripped = read_graph(strip_weights(data, compress=compress))
    assert everything(stripped) == everything(original)
    assert original.has_weights
    assert not stripped.has_weights


def test_a_structure_holds_parameters_but_no_weights() -> None:
    stripped = read_structure(strip_weights(pack(unusual())))
    assert bytes(stripped.buffer(1)) == bytes([2, 0, 0, 0, 2, 0, 0, 0])
    weights = strip_weights(pack(chain(2, weights=b"SECRETSECRET" * 3)))
    assert b"SECRET" not in weights
    assert len(read_structure(weights).buffer(1)) == 0
    with pytest.raises(InvalidModelError, match="no weights to strip"):
        strip_weights(weights)


def test_structures_that_lie_are_refused() -> None:
    data = strip_weights(pack(control_flow()))
    length = int.from_bytes(data[12:16], "little")
    header, body = json.loads(data[16 : 16 + length]), data[16 + length :]

    def rebuilt(body: bytes = body, version: int = 2, **changes: object) -> bytes:
        text = json.dumps(header | changes).encode()
        return data[:8] + version.to_bytes(4, "little") + len(text).to_bytes(4, "little") + text + body

    assert read_graph(rebuilt()).graph_id == read_graph(data).graph_id
    bomb = zlib.compress(bytes(50_000_000))
    for wrong in (
        rebuilt(version=3),
        rebuilt(model_id="x"),
        rebuilt(flatbuffer_bytes=-1),
        rebuilt(flatbuffer_bytes=1 << 40),
        rebuilt(buffers=5),
        rebuilt(records=2.5),
        rebuilt(extra=1),
        rebuilt(body[:-1]),
        rebuilt(compressed=True),
        rebuilt(bomb, compressed=True),
        data[:10],
        data[:16] + b"{" * 100,
    ):
        with pytest.raises(InvalidModelError):
            read_graph(wrong)


def test_structures_of_the_first_version_are_read_with_what_their_entropy_says() -> None:
    structure = strip_weights(CASES[0])
    length = int.from_bytes(structure[12:16], "little")
    header, body = structure[16 : 16 + length], structure[16 + length :]
    count = json.loads(header)["records"]
    size = STATISTICS_RECORDS[2].itemsize
    records = [body[-size * (count - i) :][: STATISTICS_RECORDS[1].itemsize] for i in range(count)]
    head = structure[:8] + (1).to_bytes(4, "little") + structure[12:16] + header
    first = read_structure(head + body[: len(body) - size * count] + b"".join(records))
    assert first.graph_id == read_graph(CASES[0]).graph_id
    found = first.subgraphs[0].columns.tensor_statistics
    whole = read_graph(CASES[0]).subgraphs[0].columns.tensor_statistics
    assert (found.entropy_bits == whole.entropy_bits).all()
    known = found.known
    assert known.any() and (found.plain_bits[known] >= 0).all() and (found.zero_bits[known] >= 1).all()
