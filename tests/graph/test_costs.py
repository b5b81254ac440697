"""Hand-checked costs of every family, and the purpose of every builtin operator."""

from __future__ import annotations

import numpy as np
import pytest
import tflite

from perfsage.graph import read_graph
from perfsage.graph.costs import (
    OperatorCost,
    Unknown,
    graph_macs,
    graph_parameters,
    operator_cost,
    operator_costs,
)
from perfsage.graph.costs_families import REASONS, Family, classified, family_of
from tests.graph.costs_models import Op, Part, T, model_bytes, one_operator

F32, I32, I16 = "FLOAT32", "INT32", "INT16"


def const(*shape: int, type: str = "INT8") -> T:
    return T(shape, type, data=True)


LSTM_INPUTS = [
    T([2, 5, 3]),
    *[const(4, 3)] * 4,
    *[const(4, 4)] * 4,
    None,
    None,
    None,
    *[const(4, type=I32)] * 4,
    None,
    None,
    T([2, 4], variable=True),
    T([2, 4], I16, variable=True),
]

CASES = {
    # name: (graph, macs, elementwise, parameters, read, written, weight bytes)
    "conv": (
        one_operator(
            "CONV_2D", [T([1, 8, 8, 3]), const(16, 3, 3, 3), const(16, type=I32)], [T([1, 4, 4, 16])]
        ),
        (4 * 4 * 16 * 27, 0, 432 + 16, 192 + 432 + 64, 256, 432 + 64),
    ),
    "grouped conv, 2 groups of 4 channels": (
        one_operator("CONV_2D", [T([1, 8, 8, 8]), const(16, 3, 3, 4)], [T([1, 8, 8, 16])]),
        (64 * 16 * 36, 0, 576, 512 + 576, 1024, 576),
    ),
    "dilated conv counts the taps it has": (
        one_operator(
            "CONV_2D",
            [T([1, 9, 9, 1]), const(2, 3, 3, 1)],
            [T([1, 5, 5, 2])],
            table="Conv2DOptions",
            dilationHFactor=2,
            dilationWFactor=2,
        ),
        (25 * 2 * 9, 0, 18, 81 + 18, 50, 18),
    ),
    "depthwise, multiplier 2": (
        one_operator("DEPTHWISE_CONV_2D", [T([1, 6, 6, 4]), const(1, 3, 3, 8)], [T([1, 6, 6, 8])]),
        (36 * 8 * 9, 0, 72, 144 + 72, 288, 72),
    ),
    "fully connected, no bias": (
        one_operator("FULLY_CONNECTED", [T([2, 10]), const(7, 10), None], [T([2, 7])]),
        (140, 0, 70, 20 + 70, 14, 70),
    ),
    "fully connected, float activations and int8 weights": (
        one_operator("FULLY_CONNECTED", [T([2, 10], F32), const(7, 10)], [T([2, 7], F32)]),
        (140, 0, 70, 80 + 70, 56, 70),
    ),
    "fully connected, packed 4-bit weights": (
        one_operator("FULLY_CONNECTED", [T([1, 9]), const(3, 9, type="INT4")], [T([1, 3])]),
        (27, 0, 27, 9 + 14, 3, 14),
    ),
    "transposed conv": (
        one_operator(
            "TRANSPOSE_CONV", [const(4, type=I32), const(5, 2, 2, 3), T([1, 4, 4, 3])], [T([1, 8, 8, 5])]
        ),
        (48 * 5 * 4, 0, 60, 16 + 60 + 48, 320, 60),
    ),
    "conv 3d": (
        one_operator(
            "CONV_3D", [T([1, 4, 4, 4, 2], F32), const(3, 3, 3, 2, 6, type=F32)], [T([1, 4, 4, 4, 6], F32)]
        ),
        (64 * 6 * 54, 0, 324, 4 * (128 + 324), 4 * 384, 4 * 324),
    ),
    "conv 3d transposed": (
        one_operator(
            "CONV_3D_TRANSPOSE",
            [const(5, type=I32), const(2, 2, 2, 6, 3, type=F32), T([1, 2, 2, 2, 3], F32)],
            [T([1, 4, 4, 4, 6], F32)],
        ),
        (24 * 8 * 6, 0, 144, 20 + 4 * (144 + 24), 4 * 384, 4 * 144),
    ),
    "batched matrix product": (
        one_operator("BATCH_MATMUL", [T([3, 4, 5]), T([3, 5, 6])], [T([3, 4, 6])]),
        (3 * 4 * 6 * 5, 0, 0, 60 + 90, 72, 0),
    ),
    "batched matrix product, left transposed, right broadcast": (
        one_operator(
            "BATCH_MATMUL",
            [T([3, 5, 4]), T([1, 5, 6])],
            [T([3, 4, 6])],
            table="BatchMatMulOptions",
            adjX=True,
        ),
        (3 * 4 * 6 * 5, 0, 0, 60 + 30, 72, 0),
    ),
    "lstm over 5 steps": (
        one_operator("UNIDIRECTIONAL_SEQUENCE_LSTM", LSTM_INPUTS, [T([2, 5, 4])]),
        (10 * (4 * 12 + 4 * 16), 0, 112 + 16, 30 + 112 + 64 + 8 + 16, 40, 112 + 64),
    ),
    "basic lstm": (
        one_operator(
            "LSTM",
            [T([1, 3]), T([1, 4]), const(16, 7), const(16, type=I32), T([1, 4], I16)],
            [T([1, 4]), T([1, 4], I16), T([1, 7]), T([1, 16], I16)],
        ),
        (112, 0, 112 + 16, 3 + 4 + 112 + 64 + 8, 4 + 8 + 7 + 32, 112 + 64),
    ),
    "rnn over 6 steps": (
        one_operator(
            "UNIDIRECTIONAL_SEQUENCE_RNN",
            [
                T([1, 6, 3], F32),
                const(4, 3, type=F32),
                const(4, 4, type=F32),
                const(4, type=F32),
                T([1, 4], F32, variable=True),
            ],
            [T([1, 6, 4], F32)],
        ),
        (6 * 28, 0, 32, 4 * (18 + 32 + 4), 96, 128),
    ),
    "svdf": (
        one_operator(
            "SVDF",
            [
                T([1, 10]),
                const(8, 10),
                const(8, 5, type=I16),
                const(4, type=I32),
                T([1, 40], I16, variable=True),
            ],
            [T([1, 4])],
        ),
        (8 * 10 + 8 * 5, 0, 124, 10 + 80 + 80 + 16 + 80, 4, 80 + 80 + 16),
    ),
    "dot general": (
        one_operator(
            "STABLEHLO_DOT_GENERAL",
            [T([2, 3, 4], F32), T([2, 4, 5], F32)],
            [T([2, 3, 5], F32)],
            table="StablehloDotGeneralOptions",
            lhsContractingDimensions=[2],
            rhsContractingDimensions=[1],
            lhsBatchingDimensions=[0],
            rhsBatchingDimensions=[0],
        ),
        (30 * 4, 0, 0, 96 + 160, 120, 0),
    ),
    "stablehlo convolution, kernel [h, w, in, out]": (
        one_operator(
            "STABLEHLO_CONVOLUTION",
            [T([1, 6, 6, 2], F32), const(3, 3, 2, 5, type=F32)],
            [T([1, 4, 4, 5], F32)],
            table="StablehloConvolutionOptions",
            kernelOutputFeatureDimension=3,
        ),
        (80 * 18, 0, 90, 288 + 360, 320, 360),
    ),
    "add, broadcast constant": (
        one_operator("ADD", [T([1, 4, 4, 8]), const(8)], [T([1, 4, 4, 8])]),
        (0, 128, 8, 136, 128, 8),
    ),
    "sum of three": (
        one_operator("ADD_N", [T([10], F32)] * 3, [T([10], F32)]),
        (0, 20, 0, 120, 40, 0),
    ),
    "average pool 3x2": (
        one_operator(
            "AVERAGE_POOL_2D",
            [T([1, 6, 6, 4])],
            [T([1, 2, 3, 4])],
            table="Pool2DOptions",
            filterHeight=3,
            filterWidth=2,
        ),
        (0, 24 * 6, 0, 144, 24, 0),
    ),
    "mean over two axes": (
        one_operator("MEAN", [T([1, 6, 6, 4]), const(2, type=I32)], [T([1, 4])]),
        (0, 144, 0, 144 + 8, 4, 0),
    ),
    "softmax": (one_operator("SOFTMAX", [T([1, 10])], [T([1, 10])]), (0, 10, 0, 10, 10, 0)),
    "bilinear": (
        one_operator("RESIZE_BILINEAR", [T([1, 2, 2, 3]), const(2, type=I32)], [T([1, 4, 4, 3])]),
        (0, 192, 0, 12 + 8, 48, 0),
    ),
    "scatter adds its updates": (
        one_operator("SCATTER_ND", [T([2, 1], I32), T([2, 3], F32), const(2, type=I32)], [T([4, 3], F32)]),
        (0, 6, 0, 8 + 24 + 8, 48, 0),
    ),
    "reshape is free, and known": (
        one_operator("RESHAPE", [T([2, 6]), const(2, type=I32)], [T([3, 4])]),
        (0, 0, 0, 12 + 8, 12, 0),
    ),
    "gather reads its table": (
        one_operator("GATHER", [const(100, 4, type=F32), T([3], I32)], [T([3, 4], F32)]),
        (0, 0, 400, 1600 + 12, 48, 1600),
    ),
    "scalar": (one_operator("ADD", [T([], F32), T([], F32)], [T([], F32)]), (0, 1, 0, 8, 4, 0)),
}


@pytest.mark.parametrize("name", CASES)
def test_costs_by_hand(name: str) -> None:
    graph, expected = CASES[name]
    cost = operator_cost(graph, graph.subgraphs[0].operators[0])
    assert isinstance(cost, OperatorCost), cost
    got = (
        cost.macs,
        cost.elementwise_ops,
        cost.parameters,
        cost.read_bytes,
        cost.written_bytes,
        cost.weight_bytes,
    )
    assert got == expected


UNKNOWN = {
    "custom": (one_operator("CUSTOM", [T([4])], [T([4])]), "published definition"),
    "while": (one_operator("WHILE", [T([4])], [T([4])]), "depends on the data"),
    "call once": (one_operator("CALL_ONCE", [], []), "not in every inference"),
    "hash table": (one_operator("HASHTABLE_SIZE", [T([1], "RESOURCE")], [T([1], "INT64")]), "hash table"),
    "strings": (one_operator("RESHAPE", [T([4], "STRING")], [T([4], "STRING")]), "no fixed size"),
    "dynamic width": (
        one_operator(
            "RELU", [T([1, 1, 4], F32, signature=[-1, -1, 4])], [T([1, 1, 4], F32, signature=[-1, -1, 4])]
        ),
        "only known at run time",
    ),
    "missing weights": (one_operator("CONV_2D", [T([1, 4, 4, 1])], [T([1, 4, 4, 1])]), "shapes"),
    "weights left out": (one_operator("CONV_2D", [T([1, 4, 4, 1]), None], [T([1, 4, 4, 1])]), "shapes"),
    "no output": (one_operator("ADD", [T([4]), T([4])], []), "shapes"),
    "filter of rank 0": (one_operator("CONV_2D", [T([1, 4, 4, 1]), T([])], [T([1, 4, 4, 1])]), "shapes"),
    "recurrent without weights": (one_operator("SVDF", [T([1, 10]), None, None], [T([1, 4])]), "shapes"),
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_unknown_is_never_zero(name: str) -> None:
    graph, reason = UNKNOWN[name]
    cost = operator_cost(graph, graph.subgraphs[0].operators[0])
    assert isinstance(cost, Unknown) and reason in cost.reason
    assert not operator_costs(graph.subgraphs[0]).known[0]


def test_a_batch_left_open_counts_as_the_file_states_it() -> None:
    graph = one_operator("RELU", [T([1, 4], F32, signature=[-1, 4])], [T([1, 4], F32, signature=[-1, 4])])
    assert operator_costs(graph.subgraphs[0]).elementwise_ops.tolist() == [4]


def test_absurd_shapes_do_not_overflow() -> None:
    huge = [2**15, 2**15, 2**15]
    graph = one_operator("FULLY_CONNECTED", [T([1, 4]), T([2**20, 2**26])], [T(huge)])
    costs = operator_costs(graph.subgraphs[0])
    assert costs.macs[0] == -1 and costs.read_bytes[0] >= -1


def test_every_builtin_is_classified_on_purpose() -> None:
    names = {name for name, code in vars(tflite.BuiltinOperator).items() if isinstance(code, int)}
    assert names - classified() == set()
    assert not [name for name in REASONS if family_of(name) is not Family.UNKNOWN]


def test_totals_follow_composites_and_share_weights() -> None:
    body = Part(
        [T([2, 3], F32), const(5, 3, type=F32), T([2, 5], F32)],
        [Op("FULLY_CONNECTED", [0, 1], [2])],
        [0],
        [2],
    )
    composite = {"table": "StableHLOCompositeOptions", "decompositionSubgraphIndex": 1}
    main = Part(
        [T([2, 3], F32), T([2, 5], F32), T([2, 5], F32), T([2, 5], F32)],
        [
            Op("STABLEHLO_COMPOSITE", [0], [1], composite),
            Op("STABLEHLO_COMPOSITE", [0], [2], composite),
            Op("CUSTOM", [1], [3], custom="Mystery"),
        ],
        [0],
        [3],
    )
    graph = read_graph(model_bytes([main, body]))
    total, unknown = graph_macs(graph)
    assert total == 2 * 30
    assert [(item.subgraph, item.index, item.type) for item in unknown] == [(0, 2, "Mystery")]
    assert graph_parameters(graph) == 15


def test_columns_of_an_empty_subgraph() -> None:
    graph = read_graph(model_bytes([Part([T([1])], [], [0], [0])]))
    costs = operator_costs(graph.subgraphs[0])
    assert all(len(column) == 0 for column in (costs.macs, costs.read_bytes, costs.known))
    assert graph_macs(graph) == (0, ())
    assert costs.macs.dtype == np.int64
