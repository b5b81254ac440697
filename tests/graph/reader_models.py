"""Models for the reader's tests, written with LiteRT's own object API of the schema."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

import flatbuffers
from ai_edge_litert import schema_py_generated as s

SHARED = Path(__file__).parents[3] / "shared" / "data" / "models"
REAL_FILES = sorted(SHARED.glob("*.tflite"))


def tensor(
    shape: Sequence[int], kind: int = s.TensorType.FLOAT32, buffer: int = 0, name: str = "t"
) -> s.TensorT:
    made = s.TensorT()
    made.shape, made.type, made.buffer, made.name = list(shape), kind, buffer, name.encode()
    return made


def operator(
    opcode: int, inputs: Sequence[int], outputs: Sequence[int], options: object = None
) -> s.OperatorT:
    made = s.OperatorT()
    made.opcodeIndex, made.inputs, made.outputs = opcode, list(inputs), list(outputs)
    if options is not None:
        name = type(options).__name__.removesuffix("T")
        if hasattr(s.BuiltinOptions, name):
            made.builtinOptionsType, made.builtinOptions = getattr(s.BuiltinOptions, name), options
        else:
            made.builtinOptions2Type, made.builtinOptions2 = getattr(s.BuiltinOptions2, name), options
    return made


def opcode(code: int, custom: str | None = None) -> s.OperatorCodeT:
    made = s.OperatorCodeT()
    made.deprecatedBuiltinCode, made.builtinCode, made.version = min(code, 127), code, 2
    made.customCode = custom.encode() if custom else None
    return made


def buffer(data: bytes = b"") -> s.BufferT:
    made = s.BufferT()
    made.data = list(data) if data else None
    return made


def subgraph(
    tensors: Sequence[s.TensorT],
    operators: Sequence[s.OperatorT],
    inputs: Sequence[int],
    outputs: Sequence[int],
    name: str = "main",
) -> s.SubGraphT:
    made = s.SubGraphT()
    made.tensors, made.operators, made.name = list(tensors), list(operators), name.encode()
    made.inputs, made.outputs = list(inputs), list(outputs)
    return made


def model(
    subgraphs: Sequence[s.SubGraphT], opcodes: Sequence[s.OperatorCodeT], buffers: Sequence[s.BufferT] = ()
) -> s.ModelT:
    made = s.ModelT()
    made.version, made.description = 3, b"made by a test"
    made.subgraphs, made.operatorCodes = list(subgraphs), list(opcodes)
    made.buffers = [buffer(), *buffers]
    return made


def pack(made: s.ModelT) -> bytes:
    builder = flatbuffers.Builder(1024)
    builder.Finish(made.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def chain(operators: int = 3, *, activation: int = 0, weights: bytes = b"\1\2\3\4" * 9) -> s.ModelT:
    """A chain of 1x1 convolutions, each with its own weights."""
    tensors = [tensor([1, 8, 8, 3], name="input")]
    steps, buffers = [], []
    for index in range(operators):
        options = s.Conv2DOptionsT()
        options.strideW = options.strideH = 1
        options.fusedActivationFunction = activation
        buffers.append(buffer(weights))
        tensors += [tensor([3, 1, 1, 3], buffer=len(buffers), name=f"w{index}"), tensor([1, 8, 8, 3])]
        steps.append(operator(0, [2 * index, 2 * index + 1, -1], [2 * index + 2], options))
    main = subgraph(tensors, steps, [0], [2 * operators])
    return model([main], [opcode(s.BuiltinOperator.CONV_2D)], buffers)


def control_flow() -> s.ModelT:
    """A WHILE whose body holds an IF, with a signature and metadata."""
    loop, branch = s.WhileOptionsT(), s.IfOptionsT()
    loop.condSubgraphIndex, loop.bodySubgraphIndex = 1, 2
    branch.thenSubgraphIndex, branch.elseSubgraphIndex = 3, 3
    flag = [tensor([2]), tensor([1], s.TensorType.BOOL)]
    body = [operator(2, [0, 0], [1]), operator(1, [1, 0], [2], branch)]
    add = operator(3, [0, 0], [1], s.AddOptionsT())
    made = model(
        [
            subgraph([tensor([2]), tensor([2])], [operator(0, [0], [1], loop)], [0], [1]),
            subgraph(flag, [operator(2, [0, 0], [1])], [0], [1], "condition"),
            subgraph([*flag, tensor([2])], body, [0], [2], "body"),
            subgraph([tensor([2]), tensor([2])], [add], [0], [1], "branch"),
        ],
        [opcode(code) for code in (s.BuiltinOperator.WHILE, s.BuiltinOperator.IF, s.BuiltinOperator.LESS, 0)],
    )
    made.signatureDefs, made.metadata = [_signature()], [_metadata()]
    return made


def _signature() -> s.SignatureDefT:
    made, entry, exit_ = s.SignatureDefT(), s.TensorMapT(), s.TensorMapT()
    entry.name, entry.tensorIndex = b"x", 0
    exit_.name, exit_.tensorIndex = b"y", 1
    made.signatureKey, made.subgraphIndex, made.inputs, made.outputs = b"serving", 0, [entry], [exit_]
    return made


def _metadata() -> s.MetadataT:
    made = s.MetadataT()
    made.name, made.buffer = b"min_runtime_version", 0
    return made


def unusual() -> s.ModelT:
    """Custom and StableHLO operators, a sparse, a variable and a dynamic tensor, vectors in options."""
    gather, reshape, handle = s.StablehloGatherOptionsT(), s.ReshapeOptionsT(), s.VarHandleOptionsT()
    gather.offsetDims, gather.sliceSizes, gather.indicesAreSorted = [1, 2], [3], True
    reshape.newShape, handle.container, handle.sharedName = [2, -1], b"room", b"state"
    custom = operator(0, [0], [1])
    custom.customOptions, custom.intermediates = [7, 8, 9], [4]
    custom.mutatingVariableInputs = [True]
    tensors = [tensor([1, 4], name="in"), tensor([1, 4]), tensor([2, 2]), tensor([4]), tensor([1, 4])]
    tensors += [tensor([], s.TensorType.RESOURCE), tensor([2], s.TensorType.INT32, 1, "shape")]
    tensors[0].shapeSignature, tensors[0].hasRank = [-1, 4], True
    tensors[3].sparsity, tensors[4].isVariable = _sparsity(), True
    tensors[5].variantTensors = [s.VariantSubTypeT()]
    tensors[1].quantization = _quantization()
    steps = [
        custom,
        operator(1, [1, 6], [2], reshape),
        operator(2, [2, 2], [3], gather),
        operator(3, [], [5], handle),
    ]
    codes = [s.BuiltinOperator.CUSTOM, s.BuiltinOperator.RESHAPE, s.BuiltinOperator.STABLEHLO_GATHER]
    opcodes = [opcode(code, "Mine" if code == 32 else None) for code in codes]
    opcodes.append(opcode(s.BuiltinOperator.VAR_HANDLE))
    return model([subgraph(tensors, steps, [0], [3])], opcodes, [buffer(struct.pack("<2i", 2, 2))])


def _quantization() -> s.QuantizationParametersT:
    made = s.QuantizationParametersT()
    made.scale, made.zeroPoint, made.min, made.max = [0.5, 0.25], [0, -3], [-1.0], [1.0]
    made.quantizedDimension = 1
    return made


def _sparsity() -> s.SparsityParametersT:
    made, dense, sparse = s.SparsityParametersT(), s.DimensionMetadataT(), s.DimensionMetadataT()
    dense.denseSize, sparse.format = 4, s.DimensionType.SPARSE_CSR
    segments, indices = s.Int32VectorT(), s.Uint8VectorT()
    segments.values, indices.values = [0, 2], [1, 3]
    sparse.arraySegmentsType, sparse.arraySegments = s.SparseIndexVector.Int32Vector, segments
    sparse.arrayIndicesType, sparse.arrayIndices = s.SparseIndexVector.Uint8Vector, indices
    made.traversalOrder, made.blockMap, made.dimMetadata = [0, 1], [0], [dense, sparse]
    return made


def external(offset: int, count: int) -> bytes:
    """A chain of one operator whose weights lie at `offset`, outside the flatbuffer."""
    made = chain(1)
    made.buffers[1].data = None
    made.buffers[1].offset, made.buffers[1].size = offset, count
    return pack(made)


MADE = {"chain": chain, "control_flow": control_flow, "unusual": unusual}
