"""The progress bars of a training."""

from __future__ import annotations

from typing import TYPE_CHECKING

from api.cli.console import progress
from api.workflows.train import TrainingRequest, train_from_store
from dataset.store import Store

if TYPE_CHECKING:
    from perfsage.training.options import Progress, TrainingReport


def train_with_bar(database: str, request: TrainingRequest) -> TrainingReport:
    """Train with bars on stderr: features first, then the network."""
    bar = progress("")
    with Store.open(database, create=False) as store, bar:
        features = bar.add_task("features", total=None, note="networks")
        training = bar.add_task("training", total=None, note="", start=False)

        def show_features(done: int, total: int) -> None:
            bar.update(features, completed=done, total=total)

        def show_training(state: Progress) -> None:
            bar.start_task(training)
            note = f"epoch {state.epoch}, error {100 * state.loss:.1f} %"
            bar.update(training, completed=round(100 * state.share), total=100, note=note)

        return train_from_store(store, request, on_features=show_features, on_training=show_training)
