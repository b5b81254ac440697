"""Well-known networks, rebuilt from their published descriptions with random weights."""

from __future__ import annotations

from dataset.zoo.registry import ZooNetwork, build_network, get_network, network_names

__all__ = ["ZooNetwork", "build_network", "get_network", "network_names"]
