"""Export a trained network to ONNX, with all devices materialised in its weights."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn

from perfsage.models.gnn import GraphNetwork, GraphTensors, index_neighbours
from perfsage.models.physics import TERMS
from perfsage.models.readout import DeviceTable, read_out
from perfsage.models.session import INPUT_NAMES, OUTPUT_NAMES


class ExportedNetwork(nn.Module):
    """The network as a function of plain tensors: device vectors are constants, aggregation is by index."""

    def __init__(self, network: GraphNetwork) -> None:
        super().__init__()
        self.trunk, self.spread = network.trunk, network.spread
        with torch.no_grad():
            table = network.devices()
        self.vectors, self.biases = nn.Buffer(table.vectors.clone()), nn.Buffer(table.biases.clone())
        self.log_rates = nn.Buffer(table.log_rates.clone())
        self.log_limits = nn.Buffer(table.log_limits.clone())
        self.concurrent = nn.Buffer(table.concurrent.clone())

    def forward(
        self,
        type_index: Tensor,
        node: Tensor,
        terms: Tensor,
        sizes: Tensor,
        graph: Tensor,
        source: Tensor,
        target: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return log values, log spreads, operator latencies and pooled embeddings."""
        inputs = GraphTensors(type_index, node, terms, sizes, graph, source, target)
        hidden = self.trunk(type_index, node, index_neighbours(source, target, node.shape[0]))
        table = DeviceTable(self.vectors, self.biases, self.log_rates, self.log_limits, self.concurrent)
        outputs = read_out(hidden, inputs, table, self.spread)
        return outputs.log_values, outputs.log_spread, outputs.operator_latency, outputs.pooled


def export_onnx(network: GraphNetwork, path: Path) -> None:
    """Write `network` to `path`, for any number of operators, edges and graphs."""
    module = ExportedNetwork(network.eval())
    operators, edges, graphs = (torch.export.Dim(name) for name in ("operators", "edges", "graphs"))
    shapes = {name: {0: operators} for name in ("type_index", "node", "terms", "graph")}
    shapes |= {"sizes": {0: graphs}}
    shapes |= {name: {0: edges} for name in ("source", "target")}
    example = _example(network)
    with _quiet(), torch.no_grad():
        program = torch.onnx.export(
            module,
            tuple(example[name] for name in INPUT_NAMES),
            input_names=list(INPUT_NAMES),
            output_names=list(OUTPUT_NAMES),
            dynamic_shapes=tuple(shapes[name] for name in INPUT_NAMES),
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    program.save(str(path), external_data=False)


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the exporter's remarks about itself: its deprecations, and attributes that it writes."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnx_ir", "onnxscript")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


def _example(network: GraphNetwork) -> dict[str, Tensor]:
    """Return two small graphs: export traces shapes, and 0 or 1 would be taken as constants."""
    rows, columns = 7, network.options.node_columns
    return {
        "type_index": torch.arange(rows),
        "node": torch.randn(rows, columns),
        "terms": torch.rand(rows, len(TERMS)),
        "sizes": torch.tensor([4.0, 3.0]),
        "graph": torch.tensor([0, 0, 0, 0, 1, 1, 1]),
        "source": torch.tensor([0, 1, 2, 4, 5]),
        "target": torch.tensor([1, 2, 3, 5, 6]),
    }
