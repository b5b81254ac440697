"""Splits that are fixed before training: by hash of the group, by space, by family."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from perfsage.errors import InvalidInputError
from perfsage.training.examples import Example


@dataclass(frozen=True, slots=True)
class Split:
    """Indices of the examples to learn from, to calibrate on, and to judge by."""

    train: tuple[int, ...]
    calibration: tuple[int, ...]
    test: tuple[int, ...]


def hash_share(key: str, salt: str = "") -> float:
    """Return a number in [0, 1) that depends on nothing but `key` and `salt`."""
    digest = hashlib.sha256(f"{salt}\0{key}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def random_split(
    examples: Sequence[Example], *, calibration: float = 0.1, test: float = 0.1, salt: str = ""
) -> Split:
    """Split by hash of each example's group: stable when examples are added, never parting a group."""
    shares = [hash_share(example.split_key, salt) for example in examples]
    return Split(
        train=tuple(i for i, share in enumerate(shares) if share >= calibration + test),
        calibration=tuple(i for i, share in enumerate(shares) if test <= share < calibration + test),
        test=tuple(i for i, share in enumerate(shares) if share < test),
    )


def leave_out(
    examples: Sequence[Example],
    *,
    space: str | None = None,
    family: str | None = None,
    calibration: float = 0.1,
) -> Split:
    """Judge by a whole space or family, and learn from everything else.

    A group that also occurs in the part left out is not learned from.
    """
    if (space is None) == (family is None):
        raise InvalidInputError("leave out either a space or a family")
    out = [e.space == space if space is not None else e.family == family for e in examples]
    if not any(out) or all(out):
        known = sorted({e.space if space is not None else e.family for e in examples})
        raise InvalidInputError(
            f"leaving out {space or family!r} leaves nothing on one side", hint=f"There are: {known}."
        )
    held = {example.split_key for example, is_out in zip(examples, out, strict=True) if is_out}
    kept = [i for i, example in enumerate(examples) if example.split_key not in held]
    calibrating = {i for i in kept if hash_share(examples[i].split_key) < calibration}
    return Split(
        train=tuple(i for i in kept if i not in calibrating),
        calibration=tuple(sorted(calibrating)),
        test=tuple(i for i, is_out in enumerate(out) if is_out),
    )
