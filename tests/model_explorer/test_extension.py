"""The extension in Model Explorer's own extension manager, over the graph that its own adapter makes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from api.model_explorer.node_data import node_data, node_data_json
from perfsage import load_predictor, read_graph
from tests.api.support import ROOT

pytest.importorskip("ai_edge_model_explorer_adapter")

ASK = """
import json, sys
from model_explorer.extension_manager import ExtensionManager
manager = ExtensionManager(["api.model_explorer"])
manager.load_extensions()
[found] = [e for e in manager.get_extensions_metadata() if e["id"] == "perfsage_costs"]
command = {"extensionId": "perfsage_costs", "modelPath": sys.argv[1], "graphId": "main"}
editors = manager.run_cmd(command | {"cmdId": "get_config_editors"})
run = manager.run_cmd(command | {"cmdId": "run", "configValues": {"device": sys.argv[2]}})
convert = {"extensionId": "builtin_tflite_flatbuffer", "cmdId": "convert", "modelPath": sys.argv[1],
           "settings": {}, "deleteAfterConversion": False}
graphs = manager.run_cmd(convert)
print(json.dumps({"type": found["type"], "editors": editors, "run": run, "graphs": graphs}, default=vars))
"""


def ask(model: Path, device: str, predictor: Path) -> Any:
    import os

    # A process of its own: the adapter's native library and its warnings stay out of this one.
    env = os.environ | {"PERFSAGE_PREDICTOR": str(predictor)}
    command = [sys.executable, "-c", ASK, str(model), device]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=ROOT, env=env)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.strip().splitlines()[-1])


def test_model_explorer_runs_the_extension(models: dict[str, Path], predictor: Path) -> None:
    said = ask(models["int8"], "ethos-u55-128", predictor)
    assert said["type"] == "node_data_provider"
    options = said["editors"]["configEditors"][0]["options"]
    assert [option["value"] for option in options] == [d.name for d in load_predictor(predictor).devices]
    assert said["run"]["error"] == ""
    latency, macs, *_ = said["run"]["result"]
    graph = read_graph(models["int8"])
    [prediction] = load_predictor(predictor).predict(graph, devices=["ethos-u55-128"]).predictions
    assert sum(item["value"] for item in latency["results"].values()) == pytest.approx(
        prediction.metrics["latency_ms"].value  # type: ignore[index,union-attr]
    )
    assert len(macs["results"]) == len(graph.subgraphs[0].operators)
    shown = json.dumps(said["graphs"])
    assert all(json.dumps(name) in shown for name in latency["results"]), "the adapter knows these tensors"


def test_what_goes_wrong_is_shown(tmp_path: Path, predictor: Path, models: dict[str, Path]) -> None:
    said = ask(models["int8"], "toaster", predictor)
    assert "toaster" in said["run"]["error"] and said["run"]["result"] is None


def test_node_data_can_be_a_file(models: dict[str, Path]) -> None:
    graph = read_graph(models["int8"])
    value = json.loads(node_data_json(graph, None))
    assert value == {"main": node_data(graph, None)[0]}
    assert value["main"]["name"] == "MACs"
