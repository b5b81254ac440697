"""The training loop: every device and metric at once, resumable at any moment."""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from perfsage.device import Device
from perfsage.errors import InvalidInputError
from perfsage.models.gnn import GraphNetwork
from perfsage.training.checkpoint import load_checkpoint, save_checkpoint
from perfsage.training.corpus import Batch, Corpus
from perfsage.training.distributed import agreed, own_part, parallel, process, processes
from perfsage.training.loss import batch_loss, label_weights
from perfsage.training.neighbours import neighbours_of
from perfsage.training.options import Progress, ProgressCallback, TrainingOptions
from perfsage.training.setup import build_network

WARM_UP = 0.05
GRADIENT_LIMIT = 1.0


def fit(
    corpus: Corpus,
    devices: Sequence[Device],
    options: TrainingOptions,
    checkpoint: Path | None = None,
    progress: ProgressCallback | None = None,
) -> tuple[GraphNetwork, int]:
    """Return the trained network (on the CPU) and the number of epochs that it saw."""
    torch.manual_seed(options.seed)
    place = choose_accelerator(options.accelerator)
    network = build_network(corpus, devices, options).to(place)
    trainer = _Trainer(network, corpus, options, place, checkpoint, _fingerprint(devices, corpus, options))
    trainer.run(progress or (lambda _: None))
    network = network.cpu().eval()
    with torch.no_grad():
        # A device without labels has learned no embedding: its descriptors alone speak for it.
        unlabelled = ~np.isfinite(corpus.log_labels).any(axis=(0, 2))
        network.devices.embedding[torch.from_numpy(unlabelled)] = 0.0
        network.devices.own_rates[torch.from_numpy(unlabelled)] = 0.0
    return network, trainer.epoch


def choose_accelerator(name: str) -> torch.device:
    """Return the torch device called `name`, where `auto` takes a GPU if there is one."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name not in ("cpu", "cuda"):
        raise InvalidInputError(f"there is no accelerator {name!r}", hint="Use auto, cpu or cuda.")
    return torch.device(name)


def _fingerprint(devices: Sequence[Device], corpus: Corpus, options: TrainingOptions) -> str:
    """Return a hash of what a checkpoint must agree with to be resumed."""
    lasting = replace(options, resume=True, checkpoint_every_s=0.0, accelerator="auto").to_dict()
    text = json.dumps([[d.name for d in devices], len(corpus), lasting], sort_keys=True)
    return hashlib.sha256(text.encode() + corpus.log_labels.tobytes()).hexdigest()


class _Trainer:
    """The state of one run."""

    def __init__(
        self,
        network: GraphNetwork,
        corpus: Corpus,
        options: TrainingOptions,
        place: torch.device,
        checkpoint: Path | None,
        fingerprint: str,
    ) -> None:
        self.network, self.corpus, self.options, self.place = network, corpus, options, place
        self.parallel = parallel(network, place)
        self.checkpoint, self.fingerprint = checkpoint, fingerprint
        self.epoch, self.spent_s = 0, 0.0
        self.draws = torch.Generator()
        described = network.devices.descriptors.abs().sum(dim=1) > 0
        self.dropout = described.float().cpu() * options.device_dropout
        self.weights = label_weights(network.devices.seen[:, 0])
        self.optimizer = torch.optim.AdamW(
            network.parameters(), lr=options.learning_rate, weight_decay=options.weight_decay
        )
        if checkpoint is not None and options.resume and checkpoint.exists():
            self._resume(checkpoint)

    def run(self, progress: ProgressCallback) -> None:
        """Train until the epochs or the time are used up."""
        started, saved = time.monotonic() - self.spent_s, time.monotonic()
        while self.epoch < self.options.epochs and self._share(self.epoch, self.spent_s) < 1.0:
            loss = self._one_epoch(started)
            self.epoch += 1
            self.spent_s = time.monotonic() - started
            if self.checkpoint and time.monotonic() - saved >= self.options.checkpoint_every_s:
                if process() == 0:
                    self._save(self.checkpoint)
                saved = time.monotonic()
            rate = self.optimizer.param_groups[0]["lr"]
            progress(Progress(self.epoch, self._share(self.epoch, self.spent_s), loss, rate, self.spent_s))

    def _share(self, epochs: float, spent_s: float) -> float:
        limit = self.options.time_limit_s
        spent = agreed(spent_s) / limit if limit else 0.0
        return min(1.0, max(epochs / self.options.epochs, spent))

    def _one_epoch(self, started: float) -> float:
        # Draws depend on the epoch alone, so that a resumed run goes on exactly as it would have.
        order = np.random.default_rng((self.options.seed, self.epoch)).permutation(len(self.corpus))
        self.draws.manual_seed(self.options.seed * 1_000_003 + self.epoch)
        size = self.options.batch_graphs * processes()
        losses = []
        for begin in range(0, len(order), size):
            share = self._share(self.epoch + begin / len(order), time.monotonic() - started)
            if share >= 1.0:
                break
            part = own_part(order[begin : begin + size])
            if not len(part):
                break
            self._schedule(share)
            losses.append(self._step(self.corpus.batch(part, self.place)))
        if losses and np.isnan(losses).all():
            raise InvalidInputError(
                "no step of an epoch had a finite gradient",
                hint="Look for labels or networks that are beyond all others, and leave them out.",
            )
        return float(np.nanmean(losses)) if losses else math.nan

    def _schedule(self, share: float) -> None:
        warm = min(1.0, share / WARM_UP) if self.epoch or share else 1e-2
        factor = max(warm, 1e-2) * 0.5 * (1 + math.cos(math.pi * share))
        for group in self.optimizer.param_groups:
            group["lr"] = self.options.learning_rate * factor

    def _step(self, batch: Batch) -> float:
        """Return the loss to show; NaN where the step was left out."""
        self.network.train()
        keep = (torch.rand(len(self.dropout), generator=self.draws) >= self.dropout).float().to(self.place)
        outputs = self.parallel(batch.inputs, neighbours_of(batch.inputs), keep)
        loss, shown = batch_loss(outputs, batch, self.weights, self.options.operator_weight)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        norm = torch.nn.utils.clip_grad_norm_(self.network.parameters(), GRADIENT_LIMIT)
        # A gradient beyond float32 would ruin every weight, for good.
        if not torch.isfinite(norm):
            return math.nan
        self.optimizer.step()
        return shown

    def _save(self, path: Path) -> None:
        state = {"epoch": self.epoch, "spent_s": self.spent_s, "fingerprint": self.fingerprint}
        save_checkpoint(path, self.network, self.optimizer, state)

    def _resume(self, path: Path) -> None:
        state = load_checkpoint(path, self.network, self.optimizer)
        if state["fingerprint"] != self.fingerprint:
            raise InvalidInputError(
                "the checkpoint belongs to other data or settings",
                where=str(path),
                hint="Delete it, or train into another folder.",
            )
        self.epoch, self.spent_s = int(state["epoch"]), float(state["spent_s"])
