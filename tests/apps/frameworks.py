"""Small models of many frameworks, written by the framework's own code where that is installed.

ONNX and TorchScript come from their packages. Caffe, TensorFlow and Core ML files are written by the protobuf
runtime with their field numbers, since none of these frameworks is installed; ExecuTorch, ncnn and DLC files
are headers as their documentation has them.
"""

from __future__ import annotations

import io
import struct
import warnings
import zipfile
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_TYPES = {"string": 9, "int64": 3, "int32": 5, "message": 11, "bool": 8}


def message(
    name: str, *fields: tuple[int, str, str], repeated: tuple[str, ...] = ()
) -> descriptor_pb2.DescriptorProto:
    """Return a message type; a field is (number, name, scalar type or name of a message type)."""
    made = descriptor_pb2.DescriptorProto(name=name)
    for number, label, kind in fields:
        made.field.add(
            name=label,
            number=number,
            label=3 if label in repeated else 1,
            type=_TYPES.get(kind, _TYPES["message"]),
            type_name=None if kind in _TYPES else f".t.{kind}",
        )
    return made


def factory(*types: descriptor_pb2.DescriptorProto) -> dict[str, Any]:
    file = descriptor_pb2.FileDescriptorProto(name=f"{types[-1].name}.proto", package="t", syntax="proto2")
    file.message_type.extend(types)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        kind.name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"t.{kind.name}"))
        for kind in types
    }


def caffemodel() -> bytes:
    types = factory(
        message("Layer", (1, "name", "string"), (2, "type", "string")),
        message("Net", (1, "name", "string"), (100, "layer", "Layer"), repeated=("layer",)),
    )
    net = types["Net"](name="LeNet")
    net.layer.add(name="conv1", type="Convolution")
    net.layer.add(name="loss", type="Softmax")
    return bytes(net.SerializeToString())


def graph_def() -> bytes:
    types = factory(
        message("Value", (6, "type", "int32")),
        message("Entry", (1, "key", "string"), (2, "value", "Value")),
        message("Node", (1, "name", "string"), (2, "op", "string"), (5, "attr", "Entry"), repeated=("attr",)),
        message("Graph", (1, "node", "Node"), repeated=("node",)),
    )
    graph = types["Graph"]()
    node = graph.node.add(name="input", op="Placeholder")
    entry = node.attr.add(key="dtype")
    entry.value.type = 1
    graph.node.add(name="softmax", op="Softmax")
    return bytes(graph.SerializeToString())


def saved_model() -> bytes:
    types = factory(
        message("Op", (1, "name", "string")),
        message("Ops", (1, "op", "Op"), repeated=("op",)),
        message("Info", (2, "ops", "Ops"), (5, "version", "string")),
        message("Meta", (1, "info", "Info")),
        message("Saved", (1, "schema", "int64"), (2, "meta", "Meta")),
    )
    saved = types["Saved"](schema=1)
    saved.meta.info.ops.op.add(name="Const")
    saved.meta.info.version = "2.16.1"
    return bytes(saved.SerializeToString())


def mediapipe_graph() -> bytes:
    """No model: a pipeline, whose nodes begin like those of TensorFlow's graphs."""
    types = factory(
        message("Node", (1, "name", "string"), (2, "calculator", "string"), (5, "side", "string")),
        message("Graph", (1, "node", "Node"), repeated=("node",)),
    )
    graph = types["Graph"]()
    graph.node.add(name="a", calculator="InferenceCalculator", side="MODEL:model")
    return bytes(graph.SerializeToString())


def coreml() -> bytes:
    types = factory(
        message("Kind", (5, "array", "Empty")),
        message("Empty"),
        message("Feature", (1, "name", "string"), (3, "type", "Kind")),
        message("Description", (1, "input", "Feature"), repeated=("input",)),
        message(
            "Model", (1, "version", "int32"), (2, "description", "Description"), (500, "network", "Empty")
        ),
    )
    model = types["Model"](version=4)
    feature = model.description.input.add(name="image")
    feature.type.array.SetInParent()
    model.network.SetInParent()
    return bytes(model.SerializeToString())


def onnx_model() -> bytes:
    import onnx

    value = [onnx.helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, [1, 4]) for n in ("x", "y")]
    graph = onnx.helper.make_graph([onnx.helper.make_node("Relu", ["x"], ["y"])], "g", value[:1], value[1:])
    model: bytes = onnx.helper.make_model(graph, producer_name="test").SerializeToString()
    return model


def torchscript(*, lite: bool = False) -> bytes:
    """What torch.jit.save writes, or its form for phones."""
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch says on every use that torch.export is the future
        module = torch.jit.script(torch.nn.Linear(4, 2))
        if lite:
            return bytes(module._save_to_buffer_for_lite_interpreter())
        file = io.BytesIO()
        torch.jit.save(module, file)
        return file.getvalue()


def checkpoint() -> bytes:
    """What torch.save writes."""
    import torch

    file = io.BytesIO()
    torch.save({"weight": torch.zeros(4)}, file)
    return file.getvalue()


def executorch() -> bytes:
    return struct.pack("<L4s4sLQQ", 0x38, b"ET12", b"eh00", 24, 0x2F0, 0x1000) + bytes(64)


def dlc() -> bytes:
    model = b"\xd5\x0a\x04\0\0\0\0\0" + struct.pack("<L4s", 16, b"NETD") + bytes(32)
    return zipped({"model": model, "dlc.metadata": b"model-version=1\n"})


def zipped(files: dict[str, bytes]) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return made.getvalue()


NCNN_PARAM = b"7767517\n2 2\nInput data 0 1 data 0=4 1=4 2=3\nReLU relu 1 1 data out\n"
NCNN_BINARY = struct.pack("<4L", 7767517, 2, 2, 0) + bytes(16)
PROTOTXT = b'name: "LeNet"\nlayer {\n  name: "data"\n  type: "Input"\n  top: "data"\n}\n'
TFJS = b'{"format": "graph-model", "modelTopology": {"node": []}, "weightsManifest": []}'
EVERY_FORMAT = {
    "onnx": ("net.onnx", onnx_model),
    "caffemodel": ("net.caffemodel", caffemodel),
    "prototxt": ("deploy.prototxt", lambda: PROTOTXT),
    "ncnn-param": ("net.param", lambda: NCNN_PARAM),
    "graph-def": ("frozen.pb", graph_def),
    "saved-model": ("saved/saved_model.pb", saved_model),
    "coreml": ("net.mlmodel", coreml),
    "torchscript": ("net.pt", torchscript),
    "torchscript-lite": ("net.ptl", lambda: torchscript(lite=True)),
    "pytorch": ("checkpoint.pth", checkpoint),
    "executorch": ("net.pte", executorch),
    "dlc": ("net.dlc", dlc),
    "tfjs": ("web/model.json", lambda: TFJS),
}
"""Format: a name that is usual for it, and how to make one."""
