"""Which process extracts the features of which network."""

from __future__ import annotations

from pathlib import Path

import pytest

from api.workflows.featuring import StoredNetwork, _shared_out

NETWORKS = [StoredNetwork(number, f"model{number}", "kws", number, "int8") for number in range(5)]


def _numbers(folder: Path) -> list[int]:
    return [network.number for network in _shared_out(folder, NETWORKS)]


def test_one_process_takes_all(tmp_path: Path) -> None:
    assert _numbers(tmp_path) == [0, 1, 2, 3, 4]


def test_each_of_two_begins_with_its_own_share(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert _numbers(tmp_path) == [1, 3, 0, 2, 4]


def test_what_another_process_has_finished_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_RANK", "0")
    shared = _shared_out(tmp_path, NETWORKS)
    assert [next(shared).number for _ in range(3)] == [0, 2, 4]
    for number in (1, 3):
        (tmp_path / f"model{number}.npz").touch()
    assert not list(shared)
