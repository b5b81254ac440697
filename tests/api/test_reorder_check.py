"""`perfsage reorder` runs both models before it says that they answer the same."""

from __future__ import annotations

import dataclasses

import pytest

from api.workflows import reorder
from perfsage.errors import InvalidInputError
from perfsage.graph import reorder as operators
from tests.graph.test_reorder import wide_branches


def test_both_models_are_run() -> None:
    checked = reorder.reorder_checked(wide_branches())
    assert checked.unchecked is None
    assert checked.reordering.after_bytes < checked.reordering.before_bytes


def test_another_answer_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The search is replaced by one that hands back another network."""
    found = dataclasses.replace(operators.reorder(wide_branches()), data=wide_branches(seed=1))
    monkeypatch.setattr(operators, "reorder", lambda data: found)
    with pytest.raises(InvalidInputError, match="computes something else"):
        reorder.reorder_checked(wide_branches())


def test_a_model_that_litert_cannot_run_is_written_unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    found = dataclasses.replace(operators.reorder(wide_branches()), data=b"no model")
    monkeypatch.setattr(operators, "reorder", lambda data: found)
    unchecked = reorder.reorder_checked(wide_branches()).unchecked
    assert unchecked is not None and "LiteRT" in unchecked
