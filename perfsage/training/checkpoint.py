"""A run's state on disk as one .npz file: arrays and a line of JSON, never a pickle."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from perfsage.errors import InvalidInputError
from perfsage.features.npz import read_npz


def save_checkpoint(
    path: Path, network: torch.nn.Module, optimizer: torch.optim.Optimizer, state: dict[str, Any]
) -> None:
    """Write weights, optimizer moments and `state` (JSON values), replacing `path` at once."""
    arrays = {f"network/{name}": value.cpu().numpy() for name, value in network.state_dict().items()}
    for index, moments in optimizer.state_dict()["state"].items():
        arrays |= {f"optimizer/{index}/{name}": np.asarray(value.cpu()) for name, value in moments.items()}
    partial = path.with_suffix(".partial")
    with partial.open("wb") as file:
        np.savez(file, allow_pickle=False, state=np.asarray(json.dumps(state)), **arrays)
    partial.replace(path)


def load_checkpoint(path: Path, network: torch.nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Restore what `save_checkpoint` wrote and return its `state`; InvalidInputError where it cannot be."""
    try:
        stored = read_npz(path)
        state: dict[str, Any] = json.loads(str(stored.pop("state")))
        arrays = {name: torch.from_numpy(array) for name, array in stored.items()}
        network.load_state_dict(_below(arrays, "network/"))
        moments: dict[int, dict[str, torch.Tensor]] = {}
        for name, value in _below(arrays, "optimizer/").items():
            index, _, moment = name.partition("/")
            moments.setdefault(int(index), {})[moment] = value
        groups = optimizer.state_dict()["param_groups"]
        optimizer.load_state_dict({"state": moments, "param_groups": groups})
    except (ValueError, KeyError, TypeError, RuntimeError) as error:
        raise InvalidInputError(
            f"the checkpoint does not fit this run: {error}",
            where=str(path),
            hint="Delete it, or train into another folder.",
        ) from error
    return state


def _below(arrays: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {name.removeprefix(prefix): value for name, value in arrays.items() if name.startswith(prefix)}
