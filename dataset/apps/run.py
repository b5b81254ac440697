"""Scan many archives into a dataset: on all cores, resumable, in constant memory."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from itertools import islice
from multiprocessing import get_context
from pathlib import Path

from dataset.apps.limits import Limits
from dataset.apps.records import Archive
from dataset.apps.scan import scan_archive
from dataset.apps.sdks import SdkTable
from dataset.apps.writing import add_archive, known_archives
from dataset.store import Store
from perfsage.errors import InvalidInputError, PerfsageError

SUFFIXES = (
    ".apk", ".aab", ".aar", ".xapk", ".apks", ".apkm", ".obb", ".zip", ".jar", ".whl", ".tgz", ".tar.gz",
    ".tar", ".deb",
)  # fmt: skip
_AHEAD = 4
"""Archives that wait for each worker: enough to keep it busy, few enough to stop quickly."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What to scan and how; `sdks` is a table of the user's own, `keep` a folder for the TFLite models."""

    paths: Sequence[Path]
    sdks: Path | None = None
    limits: Limits = field(default_factory=Limits)
    deep: bool = False
    again: bool = False
    workers: int | None = None
    keep: Path | None = None


@dataclass(slots=True)
class Tally:
    """What a run has done so far; `known` archives were in the dataset before."""

    scanned: int = 0
    known: int = 0
    bytes: int = 0
    models: int = 0
    by_format: Counter[str] = field(default_factory=Counter)
    by_state: Counter[str] = field(default_factory=Counter)
    by_status: Counter[str] = field(default_factory=Counter)
    failures: dict[str, str] = field(default_factory=dict)

    def add(self, archive: Archive) -> None:
        """Count one archive and what is in it."""
        self.scanned += 1
        self.bytes += archive.bytes
        self.models += len(archive.findings)
        self.by_status[archive.status] += 1
        for finding in archive.findings:
            self.by_format[finding.model.format] += 1
            self.by_state[finding.model.state] += 1


def find_archives(paths: Sequence[Path]) -> Iterator[Path]:
    """Yield the files that are named, and those in named folders whose ending is an archive's.

    Folders are read in order of names; links to folders are not followed.
    """
    for path in paths:
        if path.is_dir():
            for folder, folders, files in os.walk(path):
                folders.sort()
                yield from (Path(folder, f) for f in sorted(files) if f.lower().endswith(SUFFIXES))
        elif path.exists():
            yield path
        else:
            raise InvalidInputError("there is no such file or folder", where=str(path))


def scan_apps(store: Store, request: Request, on_archive: Callable[[Tally], None] | None = None) -> Tally:
    """Scan all archives that the dataset does not have yet, and add what is found.

    Each archive is added as a whole as soon as it is scanned, so a run that is killed goes on where it
    stopped. An archive that makes a worker crash is counted as failed and costs no other.
    """
    SdkTable.load(request.sdks)  # a broken table is told before any work
    if request.keep is not None:
        request.keep.mkdir(parents=True, exist_ok=True)
    tally = Tally()
    known = frozenset() if request.again else known_archives(store.engine)
    for path, outcome in _outcomes(request, known):
        if isinstance(outcome, str):
            tally.failures[str(path)] = outcome
        elif outcome is None:
            tally.known += 1
        elif add_archive(store.engine, outcome, replace=request.again):
            tally.add(outcome)
        else:
            tally.known += 1
        if on_archive is not None:
            on_archive(tally)
    return tally


Outcome = Archive | str | None
"""What became of an archive: its content, why it could not be read, or None when it was known."""


def _outcomes(request: Request, known: frozenset[str]) -> Iterator[tuple[Path, Outcome]]:
    workers = request.workers or len(os.sched_getaffinity(0))
    paths = find_archives(request.paths)
    suspects: list[Path] = []
    while True:
        crashed = yield from _rounds(request, known, workers, paths)
        suspects += crashed
        if not crashed:
            break
    for path in suspects:  # alone, so that only the one that crashes is blamed
        if (yield from _rounds(request, known, 1, iter((path,)))):
            yield path, "reading it crashed or exhausted the memory"


def _rounds(
    request: Request, known: frozenset[str], workers: int, paths: Iterator[Path]
) -> Generator[tuple[Path, Outcome], None, list[Path]]:
    """Scan until the paths end or a worker dies; return those that were being scanned when it died."""
    pool = ProcessPoolExecutor(
        workers, mp_context=get_context("spawn"), initializer=_start, initargs=(request, known)
    )
    waiting: dict[Future[Outcome], Path] = {}
    crashed: list[Path] = []
    try:
        while not crashed:
            for path in islice(paths, workers * _AHEAD - len(waiting)):
                try:
                    waiting[pool.submit(_scan, path)] = path
                except BrokenProcessPool:
                    crashed.append(path)
            if not waiting:
                break
            for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                path = waiting.pop(future)
                if isinstance(future.exception(), BrokenProcessPool):
                    crashed.append(path)
                else:
                    yield path, future.result()
        return [*crashed, *waiting.values()] if crashed else []
    finally:
        pool.shutdown(cancel_futures=True)


_job: tuple[SdkTable, Request, frozenset[str]]
"""What every archive is scanned with, in a worker process."""


def _start(request: Request, known: frozenset[str]) -> None:
    global _job
    _job = SdkTable.load(request.sdks), request, known


def _scan(path: Path) -> Outcome:
    sdks, request, known = _job
    try:
        return scan_archive(
            path, sdks, limits=request.limits, known=known, deep=request.deep, keep=request.keep
        )
    except PerfsageError as error:
        return str(error)
    except Exception as error:  # one archive, however odd, never costs the others
        return f"reading it failed: {type(error).__name__}: {error}"
