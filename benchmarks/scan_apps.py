"""How fast apps are scanned, and whether memory grows over a thousand of them.

    python benchmarks/scan_apps.py [--apps 1000] [--mib 48]

Speed is archive bytes per second of processor time on one core, files in the page cache. Beside it stands
what it costs in the same run only to read every entry of the archive (`zipfile`, which inflates and checks
CRC-32): speeds of a shared machine are only worth something as ratios.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import resource
import tempfile
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count
from pathlib import Path

from dataset.apps import walk
from dataset.apps.run import Request, Tally, scan_apps
from dataset.apps.scan import scan_archive
from dataset.apps.sdks import SdkTable
from dataset.builder import Dtype
from dataset.spaces import get_space
from dataset.store import Store

MIB = 1 << 20
LIBRARIES = Path("/usr/lib")
TEXTS = Path(zipfile.__file__).parent
REPEATS = 3


def models(number: int, space: str = "kws", dtype: Dtype = "int8") -> list[bytes]:
    return [get_space(space).build(seed, dtype).data for seed in range(number)]


def up_to(contents: list[bytes], total: int) -> Iterator[bytes]:
    """Repeat the contents, each time with other last bytes, until they are `total` bytes together."""
    for number in count():
        data = contents[number % len(contents)]
        total -= len(data)
        if total < 0:
            return
        yield data + number.to_bytes(4, "little")


def chunks(folder: Path, pattern: str, total: int) -> Iterator[bytes]:
    """Yield real files until they are `total` bytes together."""
    for path in sorted(folder.rglob(pattern)):
        if total <= 0:
            return
        if path.is_file() and not path.is_symlink():
            data = path.read_bytes()
            total -= len(data)
            yield data


def write(path: Path, parts: dict[str, tuple[int, Iterator[bytes]]]) -> Path:
    """Write an archive: per name pattern the zip method and the contents."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, (method, contents) in parts.items():
            for number, data in enumerate(contents):
                archive.writestr(name.format(number), data, method)
    return path


def populations(folder: Path, mib: int) -> dict[str, Path]:
    """Archives of one kind of content each, and one like a large app."""
    total = mib * MIB
    small, large = models(20), models(6, "fbnet", "float32")
    stored, deflated = zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED

    def libraries(share: float) -> Iterator[bytes]:
        return chunks(LIBRARIES, "*.so*", int(total * share))

    def pictures(share: float) -> Iterator[bytes]:
        return (os.urandom(64 << 10) for _ in range(int(total * share) >> 16))

    def texts(share: float) -> Iterator[bytes]:
        return chunks(TEXTS, "*.py", int(total * share))

    return {
        "like an app": write(
            folder / "app.apk",
            {
                "lib/arm64-v8a/lib{}.so": (stored, libraries(0.4)),
                "res/{}.png": (stored, pictures(0.3)),
                "res/{}.xml": (deflated, texts(0.2)),
                "assets/{}.tflite": (stored, up_to(large, total // 4)),
                "assets/{}.bin": (deflated, iter(small[:3])),
            },
        ),
        "only models of 8 MB, stored": write(
            folder / "stored.apk", {"assets/{}.tflite": (stored, up_to(large, total))}
        ),
        "only models of 8 MB, deflated": write(
            folder / "deflated.apk", {"assets/{}.tflite": (deflated, up_to(large, total))}
        ),
        "only models of 0.2 MB, stored": write(
            folder / "small.apk", {"assets/{}.tflite": (stored, up_to(small, total // 2))}
        ),
        "libraries and texts, deflated": write(
            folder / "libs.apk",
            {"lib/arm64-v8a/lib{}.so": (deflated, libraries(0.5)), "assets/{}": (deflated, texts(0.5))},
        ),
    }


def cpu_s(work: Callable[[], object]) -> float:
    """Return the least processor time of a few runs."""
    best = float("inf")
    for _ in range(REPEATS):
        walk._recent.clear()  # so that each run meets its models for the first time
        start = time.process_time()
        work()
        best = min(best, time.process_time() - start)
    return best


def speed(folder: Path, mib: int) -> None:
    sdks = SdkTable.load()
    data = b"".join(chunks(LIBRARIES, "*.so*", 32 * MIB))
    packed = zlib.compress(data, 6)
    print(f"SHA-256: {len(data) / MIB / cpu_s(lambda: hashlib.sha256(data)):.0f} MiB/s")
    print(f"zlib.decompress: {len(packed) / MIB / cpu_s(lambda: zlib.decompress(packed)):.0f} MiB/s of input")
    for name, path in populations(folder, mib).items():
        found = scan_archive(path, sdks)
        assert found is not None
        seconds = cpu_s(partial(scan_archive, path, sdks))
        plain = cpu_s(partial(read_plainly, path))
        size = path.stat().st_size / MIB
        print(
            f"{name}: {size / seconds:.0f} MiB/s of archive, {seconds / plain:.2g} times what reading takes "
            f"({size:.0f} MiB, {found.entries} entries, {len(found.findings)} models, {seconds:.2f} s)"
        )


def read_plainly(path: Path) -> None:
    """Read every entry of an archive and do nothing with it."""
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            archive.read(entry)


def growth(folder: Path, apps: int) -> None:
    """Scan many small apps, and print the memory of all processes along the way."""
    nets = models(20)
    for number in range(apps):
        with zipfile.ZipFile(folder / f"{number:05}.apk", "w") as archive:
            archive.writestr("assets/model.tflite", nets[number % len(nets)])
            archive.writestr("assets/packed.bin", nets[(number + 7) % len(nets)], zipfile.ZIP_DEFLATED)
            archive.writestr("assets/id.txt", f"{number} " * 10)
    steps = {apps // 10, apps // 2, apps}

    def show(tally: Tally) -> None:
        if tally.scanned in steps:
            memory = f"parent {rss_mib('self'):.0f} MiB, workers {workers_mib():.0f} MiB"
            print(f"after {tally.scanned} apps: {memory}")

    start = time.perf_counter()
    with Store.open(folder / "apps.db") as store:
        tally = scan_apps(store, Request(paths=[folder]), show)
    seconds = time.perf_counter() - start
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(f"{tally.scanned} apps in {seconds:.1f} s, {used.ru_utime + used.ru_stime:.1f} s in workers")
    with Store.open(folder / "apps.db") as store:
        start = time.perf_counter()
        again = scan_apps(store, Request(paths=[folder]))
        print(f"scanned again: {again.known} known, {time.perf_counter() - start:.1f} s")


def rss_mib(process: str) -> float:
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / MIB


def workers_mib() -> float:
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    return sum(rss_mib(child) for child in children)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--apps", type=int, default=1000)
    parser.add_argument("--mib", type=int, default=48)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as speed_folder, tempfile.TemporaryDirectory() as growth_folder:
        speed(Path(speed_folder), arguments.mib)
        growth(Path(growth_folder), arguments.apps)


if __name__ == "__main__":
    main()
