"""The extension itself: Model Explorer imports this module and asks it for node data."""

from __future__ import annotations

import os
from functools import cache
from typing import Any

from api.model_explorer.node_data import node_data
from perfsage.errors import MissingExtraError, PerfsageError
from perfsage.graph import read_graph
from perfsage.predictor import Predictor, load_predictor

try:
    from model_explorer import (
        GetConfigEditorsResult,
        NodeDataProvider,
        NodeDataProviderFilter,
        NodeDataProviderMetadata,
        NodeDataProviderResult,
    )
    from model_explorer.config_editor import DropDownConfigEditor, OptionItem
    from model_explorer.node_data_builder import GradientItem, GraphNodeData, NodeDataResult
except ImportError as error:
    raise MissingExtraError("ai-edge-model-explorer", "model-explorer") from error


class PerfsageCosts(NodeDataProvider):  # type: ignore[misc]
    """Shows each operator's predicted latency on a device, its MACs, parameters and bytes."""

    metadata = NodeDataProviderMetadata(
        id="perfsage_costs",
        name="PerfSAGE",
        description="What each operator costs: predicted latency on a device, MACs, parameters, bytes.",
        icon="speed",
        filter=NodeDataProviderFilter(modelFileExts=["tflite"]),
    )

    def get_config_editors(self, provider_id: str) -> GetConfigEditorsResult:
        """Offer the predictor's devices."""
        try:
            names = [device.name for device in predictor().devices]
        except PerfsageError as error:
            return GetConfigEditorsResult(error=str(error))
        devices = [OptionItem(value=name, label=name) for name in names]
        editor = DropDownConfigEditor(id="device", label="Device", options=devices, defaultValue=names[0])
        return GetConfigEditorsResult(configEditors=[editor])

    def run(
        self, provider_id: str, model_path: str, graph_id: str, config_values: dict[str, Any], graph: Any
    ) -> NodeDataProviderResult:
        """Predict the model and return its operators' data; an error is shown in the page."""
        try:
            read = read_graph(model_path)
            device = config_values.get("device") or predictor().devices[0].name
            [prediction] = predictor().predict(read, devices=[device]).predictions
        except (PerfsageError, OSError) as error:
            return NodeDataProviderResult(error=str(error))
        return NodeDataProviderResult(result=[_built(data) for data in node_data(read, prediction)])


@cache
def predictor() -> Predictor:
    """Return the predictor that PERFSAGE_PREDICTOR names."""
    return load_predictor(os.environ.get("PERFSAGE_PREDICTOR", "default"))


def _built(data: dict[str, Any]) -> GraphNodeData:
    results = {name: NodeDataResult(**value) for name, value in data["results"].items()}
    gradient = [GradientItem(**item) for item in data["gradient"]]
    return GraphNodeData(results=results, name=data["name"], gradient=gradient)
