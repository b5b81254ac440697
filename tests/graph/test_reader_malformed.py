"""Every malformed file is one InvalidModelError that says what and where, in bounded time and memory."""

from __future__ import annotations

import resource
import struct
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from ai_edge_litert import schema_py_generated as s
from hypothesis import given, settings
from hypothesis import strategies as st

from perfsage.errors import InvalidInputError, InvalidModelError
from perfsage.graph import read_graph, schema, strip_weights
from tests.graph.reader_models import chain, control_flow, external, opcode, operator, pack, tensor, unusual
from tests.graph.reader_mutations import campaign


def refused(data: bytes, message: str) -> InvalidModelError:
    with pytest.raises(InvalidModelError, match=message) as caught:
        read_graph(data)
    return caught.value


def test_empty_and_foreign_files() -> None:
    assert refused(b"", "too short").offset == 0
    assert refused(b"\x89PNG\r\n\x1a\n" * 10, "identifier").offset == 4
    assert refused(pack(chain())[:4] + b"TFL2" + pack(chain())[8:], "identifier").offset == 4


def test_a_root_outside_the_file() -> None:
    assert refused(b"\xff\xff\xff\x7fTFL3" + bytes(100), "outside the file").offset == 0x7FFFFFFF


def test_every_truncation_of_a_model_is_refused_or_read() -> None:
    data = pack(control_flow())
    for end in range(0, len(data), 3):
        with pytest.raises(InvalidModelError):
            read_graph(data[:end])


def test_ten_million_declared_operators() -> None:
    data = bytearray(pack(chain(3)))
    table = read_graph(bytes(data)).subgraphs[0].table
    start, length = table.vector(_field("operators"), 4)
    assert length == 3
    struct.pack_into("<I", data, start - 4, 10_000_000)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    error = refused(bytes(data), "10000000 elements ends outside the file")
    assert error.offset == start - 4
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 10_000


def test_ten_million_operators_that_are_there() -> None:
    data = bytearray(pack(chain(3)))
    table = read_graph(bytes(data)).subgraphs[0].table
    field = _field("operators")
    where, target = table.position_of(field.slot), len(data) + len(data) % 4
    struct.pack_into("<I", data, where, target - where)
    data += bytes(target - len(data)) + struct.pack("<I", 10_000_000) + bytes(40_000_000)
    start = time.process_time()
    refused(bytes(data), "10000000 operators are declared; 100000 can be read")
    assert time.process_time() - start < 1


def test_shared_vectors_cannot_multiply() -> None:
    made = chain(1)
    data = bytearray(pack(made))
    count, width = 40_000, 20_000
    table = read_graph(bytes(data)).subgraphs[0].table
    where, target = table.position_of(_field("operators").slot), len(data) + len(data) % 4
    struct.pack_into("<I", data, where, target - where)
    data += bytes(target - len(data)) + struct.pack("<I", count)
    end = len(data) + 4 * count
    data += b"".join(struct.pack("<I", end + 8 - len(data) - 4 * i) for i in range(count))
    data += struct.pack("<HHHH", 8, 8, 0, 4) + struct.pack("<iII", 8, 4, width) + bytes(4 * width)
    refused(bytes(data), "together declare 800000000 elements")


def _field(name: str) -> schema.Field:
    return schema.fields("SubGraph")[name]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.subgraphs[0].operators[0].inputs.__setitem__(0, 99), "uses tensor 99 of 7"),
        (lambda m: m.subgraphs[0].operators[0].inputs.__setitem__(0, -2), "uses tensor -2 of 7"),
        (lambda m: m.subgraphs[0].operators[1].outputs.__setitem__(0, 7), "uses tensor 7 of 7"),
        (lambda m: setattr(m.subgraphs[0].operators[0], "intermediates", [8]), "uses tensor 8 of 7"),
        (lambda m: setattr(m.subgraphs[0], "inputs", [7]), "inputs outside its 7 tensors"),
        (lambda m: setattr(m.subgraphs[0], "outputs", [-1]), "outputs outside its 7 tensors"),
        (lambda m: setattr(m.subgraphs[0].operators[2], "opcodeIndex", 5), "operator 2 has opcode 5 of 1"),
        (lambda m: setattr(m.subgraphs[0].tensors[3], "buffer", 9), "tensor 3 has buffer 9 of 4"),
        (lambda m: setattr(m.subgraphs[0].tensors[0], "shape", [1, -1, 8, 3]), r"shape \[1, -1, 8, 3\]"),
        (lambda m: setattr(m.subgraphs[0].tensors[2], "shape", [2**31 - 1] * 3), "too many elements"),
        (lambda m: setattr(m.subgraphs[0].tensors[2], "shape", [2**31 - 1] * 60), "too many elements"),
        (lambda m: m.subgraphs[0].operators[0].inputs.__setitem__(0, 2), "operator 0 .* reads tensor 2"),
        (lambda m: m.subgraphs[0].operators[0].inputs.__setitem__(0, 4), "operator 0 .* reads tensor 4"),
        (lambda m: setattr(m, "subgraphs", []), "no subgraph"),
        (lambda m: setattr(m.operatorCodes[0], "deprecatedBuiltinCode", -4), "operator code 0 is"),
    ],
)
def test_inconsistent_models(change: Callable[[s.ModelT], None], message: str) -> None:
    made = chain(3)
    change(made)
    if "operator code" in message:
        made.operatorCodes[0].builtinCode = -5
    assert refused(pack(made), message).offset is not None


@pytest.mark.parametrize(
    ("subgraph", "message"), [(9, "calls subgraph 9 of 4"), (-1, "subgraph -1"), (0, "itself")]
)
def test_calls_of_missing_and_of_calling_subgraphs(subgraph: int, message: str) -> None:
    made = control_flow()
    made.subgraphs[2].operators[1].builtinOptions.elseSubgraphIndex = subgraph
    refused(pack(made), message)


def test_data_outside_the_flatbuffer_must_be_in_the_file() -> None:
    for offset, count in ((1000, 2**63), (2**64 - 8, 8), (100, 10**6), (10**9, 1)):
        refused(external(offset, count), "outside the file")


def test_names_that_are_not_utf8_are_replaced() -> None:
    made = chain(1)
    made.subgraphs[0].tensors[0].name = b"\xff\xfex"
    assert read_graph(pack(made)).subgraphs[0].tensors[0].name == "\ufffd\ufffdx"


def test_signatures_and_metadata_must_name_what_exists() -> None:
    for change in ("subgraph", "tensor", "buffer"):
        made = control_flow()
        if change == "subgraph":
            made.signatureDefs[0].subgraphIndex = 4
        elif change == "tensor":
            made.signatureDefs[0].outputs[0].tensorIndex = 2
        else:
            made.metadata[0].buffer = 1
        graph = read_graph(pack(made))
        with pytest.raises(InvalidModelError, match=r" of |outside"):
            print(graph.signatures, graph.metadata)


def test_an_operator_may_leave_out_inputs_and_types_may_be_unknown() -> None:
    made = unusual()
    made.subgraphs[0].tensors.append(tensor([2], 99))
    made.operatorCodes[1].builtinCode = 4000
    made.subgraphs[0].operators.append(operator(1, [-1], [7]))
    graph = read_graph(pack(made))
    last = graph.subgraphs[0].operators[-1]
    assert (last.type, last.inputs) == ("BUILTIN_4000", (-1,))
    assert (graph.subgraphs[0].tensors[7].type, graph.subgraphs[0].tensors[7].bytes) == ("TYPE_99", None)


def test_a_call_without_computations_calls_nothing() -> None:
    made = control_flow()
    made.operatorCodes.append(opcode(s.BuiltinOperator.STABLEHLO_CUSTOM_CALL))
    call = operator(4, [0], [1], s.StablehloCustomCallOptionsT())
    made.subgraphs[0].operators[0] = call
    assert read_graph(pack(made)).subgraphs[0].operators[0].type == "STABLEHLO_CUSTOM_CALL"


def test_subgraphs_that_share_vectors_cannot_multiply() -> None:
    data = bytearray(pack(chain(1)))
    root = read_graph(bytes(data)).root
    where, table = root.position_of(schema.slots("Model")["subgraphs"]), len(data) + len(data) % 4
    struct.pack_into("<I", data, where, table - where)
    data += bytes(table - len(data)) + struct.pack("<I", 10_000)
    end = table + 4 + 40_000
    data += b"".join(struct.pack("<I", end + 8 - table - 4 - 4 * i) for i in range(10_000))
    data += struct.pack("<4H", 8, 8, 0, 4) + struct.pack("<iII", 8, 4, 100_000) + bytes(400_000)
    refused(bytes(data), "subgraphs together declare 1000000000 elements")


def test_missing_files_and_folders(tmp_path: Path) -> None:
    for path in (tmp_path / "none.tflite", tmp_path):
        with pytest.raises(InvalidInputError, match="cannot be read"):
            read_graph(path)


def test_a_sample_of_damaged_models() -> None:
    outcomes = campaign(2000, seed=20, limit_s=2.0)
    assert outcomes["read"] > 100
    assert outcomes["refused"] > 100


@pytest.mark.slow
def test_a_hundred_thousand_damaged_models() -> None:
    assert campaign(100_000, seed=1, limit_s=2.0).total() == 100_000


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=400))
def test_garbage_behind_the_identifier(garbage: bytes) -> None:
    with pytest.raises(InvalidModelError):
        read_graph(struct.pack("<I", 8) + b"TFL3" + garbage)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=400), st.integers(0, 200))
def test_garbage_in_a_structure(garbage: bytes, where: int) -> None:
    data = strip_weights(pack(chain(1)))
    damaged = data[:where] + garbage + data[where + len(garbage) :]
    try:
        read_graph(damaged)
    except InvalidModelError:
        return
