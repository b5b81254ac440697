"""Say from the first bytes which kind of model something is; docs/apps.md has the source of each rule."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from dataset.apps import protobuf
from dataset.apps.protobuf import LENGTH, VARINT, Field


@dataclass(frozen=True, slots=True)
class Format:
    """A format that was recognized, its framework, and by what."""

    name: str
    framework: str
    evidence: str


_IDENTIFIERS = (
    (b"TFL3", Format("tflite", "TensorFlow Lite", "flatbuffer identifier TFL3")),
    (b"ORTM", Format("ort", "ONNX Runtime", "flatbuffer identifier ORTM")),
    (b"MSL1", Format("mindspore-lite", "MindSpore Lite", "flatbuffer identifier MSL1")),
    (b"MSL2", Format("mindspore-lite", "MindSpore Lite", "flatbuffer identifier MSL2")),
    (b"NETD", Format("dlc", "SNPE/QNN", "flatbuffer identifier NETD")),
)
_MAGIC = (
    (b"\xd5\x0a\x02\0", Format("dlc", "SNPE/QNN", "header d5 0a 02 00")),
    (b"\xd5\x0a\x03\0\0\0\0\0", Format("dlc", "SNPE/QNN", "header d5 0a 03 00")),
    (b"\xd5\x0a\x04\0\0\0\0\0", Format("dlc", "SNPE/QNN", "header d5 0a 04 00")),
    (b"7767517\n", Format("ncnn-param", "ncnn", "first line 7767517")),
    (b"7767517\r\n", Format("ncnn-param", "ncnn", "first line 7767517")),
    (b"\xdd\x85\x76\0", Format("ncnn-param", "ncnn", "first number 7767517")),
    (
        b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.",
        Format("pytorch-legacy", "PyTorch", "magic number of torch.save before 1.6"),
    ),
    (b"\x89HDF\r\n\x1a\n", Format("hdf5", "Keras", "HDF5 signature and a name of Keras")),
    (b"LITERTLM", Format("litertlm", "LiteRT-LM", "header LITERTLM")),
    (b"GGUF", Format("gguf", "llama.cpp", "header GGUF")),
    (b"program(1.", Format("coreml-mil", "Core ML", "model intermediate language, program(1.x)")),
)
_EXECUTORCH = re.compile(rb"ET\d\d")
_KERAS_NAMES = (".h5", ".hdf5", ".keras")
_LAYER = re.compile(rb"(?m)^\s*layers?\s*:?\s*\{")
_LAYER_TYPE = re.compile(rb"(?m)^\s*(?:type\s*:|name\s*:)")
_OPERATOR = re.compile(r"[A-Z_][A-Za-z0-9_.>]*")
_CONTAINED: tuple[tuple[Callable[[set[str]], bool], Format], ...] = (
    (
        lambda names: "bytecode.pkl" in names,
        Format("torchscript-lite", "PyTorch", "zip with bytecode.pkl"),
    ),
    (
        lambda names: {"data.pkl", "constants.pkl"} <= names,
        Format("torchscript", "PyTorch", "zip with data.pkl and constants.pkl"),
    ),
    (
        lambda names: {"data.pkl", "version"} <= names,
        Format("pytorch", "PyTorch", "zip with data.pkl and version"),
    ),
    (
        lambda names: bool({"model", "model.dlc"} & names) and bool({"dlc.metadata", "model.params"} & names),
        Format("dlc", "SNPE/QNN", "zip with model and dlc.metadata or model.params"),
    ),
    (
        lambda names: {"config.json", "metadata.json", "model.weights.h5"} <= names,
        Format("keras", "Keras", "zip with config.json and model.weights.h5"),
    ),
)


def recognize(head: bytes, size: int, name: str) -> Format | None:
    """Return the format of `size` bytes that begin with `head`, None for anything but a model.

    The name decides only for HDF5, which is not only Keras's.
    """
    identifier = head[4:8]
    for magic, found in _IDENTIFIERS:
        if identifier == magic:
            return found
    if _EXECUTORCH.fullmatch(identifier):
        return Format("executorch", "ExecuTorch", f"flatbuffer identifier {identifier.decode()}")
    for magic, found in _MAGIC:
        if head.startswith(magic):
            return None if found.name == "hdf5" and not name.lower().endswith(_KERAS_NAMES) else found
    if head[:1] in (b"\x08", b"\x0a", b"\xa2"):
        return _protobuf_model(head, size)
    return _text_model(head, name)


def recognize_container(names: Iterable[str]) -> Format | None:
    """Return which model a zip archive with these entries is, None when it is just an archive."""
    short = {name.rpartition("/")[2] for name in names}
    return next((found for test, found in _CONTAINED if test(short)), None)


def _protobuf_model(head: bytes, size: int) -> Format | None:
    try:
        found = list(_known_fields(head, size))
    except ValueError:
        return None
    for test in (_onnx, _coreml, _saved_model, _graph_def, _caffe):
        try:
            if result := test(head, found):
                return result
        except (ValueError, StopIteration):
            continue
    return None


def _known_fields(head: bytes, size: int, start: int = 0) -> Iterator[Field]:
    """Yield the fields whose beginning is in the head."""
    try:
        yield from protobuf.fields(head, start, size)
    except ValueError:
        # The head may end in the middle of a key; a message that is wholly there may not.
        if size <= len(head):
            raise


def _first(head: bytes, field: Field) -> Field:
    return next(iter(protobuf.fields(head, field.start, field.end)))


def _onnx(head: bytes, found: list[Field]) -> Format | None:
    """ModelProto: ir_version, then texts, then a graph whose first field is a node."""
    if not (found and found[0].number == 1 and found[0].wire == VARINT and 1 <= found[0].value <= 100):
        return None
    for field in found[1:]:
        if field.number in (2, 3, 4, 6) and protobuf.text(head, field, 4096) is not None:
            continue
        if field.number == 7 and field.wire == LENGTH:
            node = _first(head, field)
            operand = _first(head, node)
            if node.number == 1 and operand.number in (1, 2) and operand.wire == LENGTH:
                return Format("onnx", "ONNX", "ModelProto: ir_version, producer, graph of nodes")
        if field.number not in (5, 8, 14, 20):
            return None
    return None


def _coreml(head: bytes, found: list[Field]) -> Format | None:
    """Model: specificationVersion, then a description that begins with a named, typed input."""
    if not (len(found) > 1 and found[0].number == 1 and found[0].wire == VARINT and found[0].value <= 100):
        return None
    if found[1].number != 2 or found[1].wire != LENGTH:
        return None
    feature = _first(head, found[1])
    parts = {field.number: field for field in protobuf.fields(head, feature.start, feature.end)}
    kind = parts.get(3)
    named = feature.number == 1 and 1 in parts and protobuf.text(head, parts[1])
    if not named or kind is None or kind.wire != LENGTH:
        return None
    if kind.value and _first(head, kind).number not in (*range(1, 9), 1000):
        return None
    return Format("coreml", "Core ML", "Model: specificationVersion, described features")


def _saved_model(head: bytes, found: list[Field]) -> Format | None:
    """SavedModel: schema version 1, then a MetaGraphDef with the operators that it needs."""
    if not (len(found) > 1 and found[0].number == 1 and found[0].wire == VARINT and found[0].value == 1):
        return None
    if found[1].number != 2 or found[1].wire != LENGTH:
        return None
    meta = _first(head, found[1])
    operators = next(field for field in protobuf.fields(head, meta.start, meta.end) if field.number == 2)
    name = protobuf.text(head, _first(head, _first(head, operators)))
    if meta.number == 1 and name and _OPERATOR.fullmatch(name):
        return Format("saved-model", "TensorFlow", "SavedModel: version 1, MetaGraphDef with operators")
    return None


def _graph_def(head: bytes, found: list[Field]) -> Format | None:
    """GraphDef: nodes, each a name, an operator, and attributes by name.

    MediaPipe's graphs begin in the same way; their field 5 is text.
    """
    if not all(field.number == 1 and field.wire == LENGTH for field in found[:1]):
        return None
    for node in (field for field in found if field.number == 1):
        parts = list(_known_fields(head[: node.end], node.end, node.start))
        kind = protobuf.text(head, parts[1]) if len(parts) > 1 else None
        named = [part.number for part in parts[:2]] == [1, 2] and protobuf.text(head, parts[0])
        if not named or kind is None or not _OPERATOR.fullmatch(kind):
            return None
        attribute = next((part for part in parts if part.number == 5), None)
        if attribute is not None and protobuf.text(head, _first(head, attribute)):
            return Format("graph-def", "TensorFlow", "GraphDef: named nodes with operators, attributes")
    return None


def _caffe(head: bytes, found: list[Field]) -> Format | None:
    """NetParameter: possibly a name, then layers (field 100, or 2 before 2014) with names."""
    if found and found[0].number == 1 and protobuf.text(head, found[0]) is not None:
        found = found[1:]
    if not (found and found[0].number in (100, 2) and found[0].wire == LENGTH):
        return None
    layer = _first(head, found[0])
    if layer.wire != LENGTH or protobuf.text(head, layer) is None:
        return None
    if found[0].number == 2 and layer.number not in (2, 3, 4):
        return None
    return Format("caffemodel", "Caffe", "NetParameter: named layers")


def _text_model(head: bytes, name: str) -> Format | None:
    start = head.lstrip()[:16]
    if start.startswith(b"{") and (b'"weightsManifest"' in head or b'"modelTopology"' in head):
        return Format("tfjs", "TensorFlow.js", "JSON with modelTopology or weightsManifest")
    if start.startswith(b"{") and re.search(rb'"format"\s*:\s*"(graph|layers)-model"', head):
        return Format("tfjs", "TensorFlow.js", "JSON with format graph-model or layers-model")
    prototxt = start.startswith((b"name", b"layer", b"input", b"#")) or name.endswith(".prototxt")
    if prototxt and _LAYER.search(head) and _LAYER_TYPE.search(head):
        return Format("prototxt", "Caffe", "text with layer { type: ... }")
    return None


MODEL_NAMES = {
    ".tflite": "tflite", ".tfl": "tflite", ".lite": "tflite", ".litertlm": "litertlm", ".onnx": "onnx",
    ".ort": "ort", ".caffemodel": "caffemodel", ".dlc": "dlc", ".pte": "executorch",
    ".ptl": "torchscript-lite",
    ".pt": "pytorch", ".pth": "pytorch", ".mlmodel": "coreml", ".mnn": "mnn", ".nb": "paddle-lite",
    ".tnnmodel": "tnn", ".ms": "mindspore-lite", ".gguf": "gguf",
}  # fmt: skip
"""Endings that promise a model, whatever the content says."""
_COMPILED = re.compile(r"\.mlmodelc/(?:.*/)?coremldata\.bin$")
_QNN_CONTEXT = re.compile(r"(?:\.serialized|_serialized|_ctx|_context|[._]qnn[^/]*)\.bin$", re.IGNORECASE)


def promised_by(name: str) -> str | None:
    """Return the format that a name promises: for contents that nothing recognizes."""
    lower = name.lower()
    if _COMPILED.search(lower):
        return "coreml-compiled"
    if _QNN_CONTEXT.search(lower):
        return "qnn-context"
    stem = re.sub(r"(?:\.enc|\.encrypted|\.aes|\.bin|\.crypt)$", "", lower)
    return next((found for ending, found in MODEL_NAMES.items() if stem.endswith(ending)), None)
