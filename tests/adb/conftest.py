from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from profilers.adb.settings import PhoneSettings, RunnerSettings
from profilers.adb.transport import Adb
from tests.adb.phones import CACHE, Phone, why_not

_numbers = itertools.count()


@pytest.fixture(scope="session")
def _phones_possible() -> None:
    if reason := why_not():
        pytest.skip(reason)


@pytest.fixture
def make_phone(_phones_possible: None) -> Iterator[Callable[..., Phone]]:
    made: list[Phone] = []

    def make(**options: object) -> Phone:
        phone = Phone(f"t{os.getpid()}-{next(_numbers)}", **options)  # type: ignore[arg-type]
        made.append(phone)
        return phone

    yield make
    for phone in made:
        phone.wipe()


@pytest.fixture
def phone(make_phone: Callable[..., Phone]) -> Phone:
    return make_phone()


@pytest.fixture
def connect(key_path: Path) -> Iterator[Callable[..., Adb]]:
    opened: list[Adb] = []

    def make(address: str, patience_s: float = 10.0) -> Adb:
        opened.append(Adb(address, key_path=key_path, patience_s=patience_s))
        return opened[-1]

    yield make
    for adb in opened:
        adb.close()


@pytest.fixture
def adb(phone: Phone, connect: Callable[..., Adb]) -> Adb:
    return connect(phone.address)


@pytest.fixture(scope="session")
def benchmark_model() -> Path:
    bundle = CACHE / "benchmark_model"
    if not (bundle / "benchmark_model").exists():
        pytest.skip("benchmark_model is not built: run tests/adb/device/benchmark_model.sh")
    return bundle


@pytest.fixture
def key_path(tmp_path: Path) -> Path:
    return tmp_path / "keys" / "adbkey"


def quick_settings(phone: Phone, key_path: Path, **changes: object) -> PhoneSettings:
    """Settings for a short run with PerfSAGE's own runner."""
    runner = changes.pop("runner", None) or RunnerSettings(runs=5, min_s=0.05, warmup_min_s=0.02)
    return PhoneSettings(
        name=phone.name,
        address=phone.address,
        key_path=key_path,
        runner=runner,  # type: ignore[arg-type]
        idle_between_models_s=0.0,
        idle_between_visits_s=0.0,
        **changes,  # type: ignore[arg-type]
    )
