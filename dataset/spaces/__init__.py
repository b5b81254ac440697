"""Search spaces: a seed gives an architecture, and an architecture gives a .tflite file."""

from __future__ import annotations

from dataset.spaces.space import BuiltNetwork, Space, get_space, space_names

__all__ = ["BuiltNetwork", "Space", "get_space", "space_names"]
