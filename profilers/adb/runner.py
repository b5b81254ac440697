"""The program that times a model on the phone: TFLite's benchmark_model, or PerfSAGE's own for boards."""

from __future__ import annotations

import contextlib
import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from perfsage.errors import StableDeviceError, UnsupportedModelError
from profilers.adb.benchmark_log import BenchmarkReport, parse_benchmark_log
from profilers.adb.board import SOURCE, build_board_runner
from profilers.adb.elf import elf_abi, runs_on
from profilers.adb.jobs import ROOT, JobResult, Jobs
from profilers.adb.operator_profile import OperatorTime, parse_operator_csv, parse_operator_proto
from profilers.adb.properties import Properties
from profilers.adb.result_proto import decode_benchmark_result
from profilers.adb.settings import RunnerSettings
from profilers.adb.transport import Adb

PROGRAM = "benchmark_model"
WHERE_TO_GET_IT = (
    "Builds are at https://storage.googleapis.com/litert/binaries/latest/android_arm64/benchmark_model "
    "(LiteRT) and in the nightly folder that TFLite's measurement guide names (classic)."
)
MAX_PROGRAM_BYTES = 512 << 20
_FLAG = re.compile(r"^\s*--?([a-z][a-z0-9_-]*)=", re.MULTILINE)
_SIGNALS = {134: "SIGABRT", 135: "SIGBUS", 136: "SIGFPE", 137: "SIGKILL", 139: "SIGSEGV", 132: "SIGILL"}


class RunFailure(UnsupportedModelError):  # one model failed, not the phone
    """The benchmark did not get through this model; the phone is fine."""


@dataclass(frozen=True, slots=True)
class Installed:
    """A runner that lies on the phone: its folder, its flags, and the hash of its files."""

    folder: str
    flags: frozenset[str]
    digest: str
    is_board_runner: bool


def install(adb: Adb, jobs: Jobs, settings: RunnerSettings, properties: Properties) -> Installed:
    """Put the runner on the phone where it is not there yet, and ask it for its flags.

    StableDeviceError where it is missing, built for another processor, or does not start.
    """
    files, device_abi = _files(settings, properties), properties.abi
    for name, data in files.items():
        built_for = elf_abi(data)
        if built_for and not runs_on(built_for, device_abi):
            raise StableDeviceError(
                f"{name} is built for {built_for} and the phone is {device_abi}",
                where=str(settings.path or settings.library),
                hint=WHERE_TO_GET_IT,
            )
    digest = _digest(files)
    folder = f"{ROOT}/runner-{digest}"
    adb.push_files(files, folder, mode=0o755)
    is_board_runner = settings.path is None
    flags = frozenset() if is_board_runner else _known_flags(jobs, folder)
    return Installed(folder, flags, digest, is_board_runner)


def identify(settings: RunnerSettings) -> tuple[str, str]:
    """Return (tool, version) of the runner without connecting: a hash of its files, or of its source."""
    if settings.path is None:
        return "perfsage_board_runner", f"sha256:{_digest({SOURCE.name: SOURCE.read_bytes()})}"
    try:
        return PROGRAM, f"sha256:{_digest(_given_files(settings.path))}"
    except StableDeviceError as error:
        return PROGRAM, f"unknown: {error.what}"


def _digest(files: dict[str, bytes]) -> str:
    whole = hashlib.sha256()
    for name, data in sorted(files.items()):
        whole.update(name.encode() + b"\0" + hashlib.sha256(data).digest())
    return whole.hexdigest()[:16]


def _files(settings: RunnerSettings, properties: Properties) -> dict[str, bytes]:
    if settings.path is not None:
        return _given_files(settings.path)
    if properties.is_android:
        raise StableDeviceError(
            f"an Android phone is measured with TFLite's {PROGRAM}, and none is given",
            where=properties.model or None,
            hint=f"Name it in lab.toml: [devices.NAME.runner] path = '...'. {WHERE_TO_GET_IT}",
        )
    return build_board_runner(settings.library, properties.abi)


def _given_files(path: Path) -> dict[str, bytes]:
    if not path.exists():
        raise StableDeviceError("there is no benchmark_model", where=str(path), hint=WHERE_TO_GET_IT)
    paths = [path] if path.is_file() else sorted(p for p in path.iterdir() if p.is_file())
    if sum(p.stat().st_size for p in paths) > MAX_PROGRAM_BYTES:
        raise StableDeviceError(f"the folder holds more than {MAX_PROGRAM_BYTES >> 20} MB", where=str(path))
    files = {p.name: p.read_bytes() for p in paths}
    if path.is_file():
        return {PROGRAM: files[path.name]}
    if PROGRAM not in files:
        raise StableDeviceError(f"the folder holds no {PROGRAM}", where=str(path), hint=WHERE_TO_GET_IT)
    return files


def _known_flags(jobs: Jobs, folder: str) -> frozenset[str]:
    """Return the flags that this build knows, from its own help."""
    with jobs.start([f"{folder}/{PROGRAM}", "--help"], limit_s=20) as job:
        result = job.wait(30)
    flags = frozenset(_FLAG.findall(result.text + "\n" + result.stderr))
    if "graph" not in flags:
        said = (result.stderr or result.text).strip()[-300:]
        raise StableDeviceError(
            f"the program is not a benchmark_model that this phone can run: code {result.code}, {said!r}",
            where=f"{folder}/{PROGRAM}",
            hint=WHERE_TO_GET_IT,
        )
    return flags


def report(result: JobResult, result_file: bytes | None = None) -> BenchmarkReport:
    """Return the figures of a run that ended, or raise RunFailure with the tool's own words.

    `result_file` is what `--result_file_path` left; it completes what the build prints.
    """
    if result.timed_out:
        raise RunFailure("the benchmark did not end in time", hint="Raise the time limit, or lower the runs.")
    if result.code != 0:
        raise RunFailure(_why(result), hint="Run the same command in `adb shell` to see all of it.")
    written = _written(result_file)
    try:
        printed = parse_benchmark_log(result.text, result.stderr)
    except StableDeviceError as error:
        if written is None:
            raise RunFailure(error.what, where=error.where, hint=error.hint) from error
        return written
    return printed if written is None else printed.completed(written)


def _written(result_file: bytes | None) -> BenchmarkReport | None:
    with contextlib.suppress(StableDeviceError):  # damaged: what was printed has to do
        return decode_benchmark_result(result_file) if result_file else None
    return None


def _why(result: JobResult) -> str:
    errors = [
        line for line in (result.text + "\n" + result.stderr).splitlines() if line.startswith("ERROR: ")
    ]
    words = "; ".join(line.removeprefix("ERROR: ") for line in errors if "Benchmarking failed" not in line)
    words = words or result.stderr.strip()[-300:] or result.text.strip()[-200:] or "no message"
    if result.code in _SIGNALS:
        cause = " (out of memory?)" if result.code == 137 else ""
        return f"the benchmark was ended by {_SIGNALS[result.code]}{cause}: {words}"
    return f"the benchmark failed with code {result.code}: {words}"


def operators(adb: Adb, path: str) -> tuple[OperatorTime, ...]:
    """Fetch and read the per-operator profile that a run left at `path`."""
    data = adb.pull(path, limit_bytes=32 << 20)
    if b" Run Order " not in data:
        if not (found := parse_operator_proto(data)):
            raise StableDeviceError("the operator profile holds no operators", where=path)
        return found
    return parse_operator_csv(data.decode("utf-8", "backslashreplace"))
