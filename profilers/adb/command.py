"""The command line that measures a model on the phone."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec

from perfsage.errors import StableDeviceError
from profilers.adb.runner import PROGRAM, WHERE_TO_GET_IT, Installed
from profilers.adb.settings import RunnerSettings

RESULT_FILE = "result.pb"
"""Where a build that can writes its figures, in the job's own folder: more of them than it prints."""


def command(
    runner: Installed, settings: RunnerSettings, model: str, threads: int, profile_to: str | None = None
) -> list[str]:
    """Return the command line that measures the model at the path `model` on the phone."""
    flags = {
        "graph": model,
        "num_runs": str(settings.runs),
        "min_secs": f"{settings.min_s:g}",
        "max_secs": f"{settings.max_s:g}",
        "warmup_runs": str(settings.warmup_runs),
        "warmup_min_secs": f"{settings.warmup_min_s:g}",
    }
    if runner.is_board_runner:
        _refuse_on_board(settings, threads, profile_to)
        program, flags["library"] = "board_runner", f"{runner.folder}/libLiteRt.so"
    else:
        program = PROGRAM
        flags["num_threads"] = str(threads)
        flags |= _delegate_flags(settings)
        flags |= _report_flags(runner)
        if profile_to is not None:
            flags |= _profile_flags(runner, profile_to)
        _refuse_unknown(runner, flags)
    pinned = ["taskset", settings.cpu_mask] if settings.cpu_mask else []
    return [*pinned, f"{runner.folder}/{program}", *(f"--{k}={v}" for k, v in flags.items()), *settings.flags]


def for_energy(settings: RunnerSettings, window_s: float) -> RunnerSettings:
    """Return settings for one run that fills the window."""
    return replace(settings, min_s=window_s, max_s=max(settings.max_s, 2 * window_s))


def _delegate_flags(settings: RunnerSettings) -> dict[str, str]:
    kind, _, detail = settings.delegate.partition(":")
    known = {
        "": {},
        "xnnpack": {"use_xnnpack": "true"},
        "no-xnnpack": {"use_xnnpack": "false"},
        "gpu": {"use_gpu": "true"},
        "nnapi": {"use_nnapi": "true"} | ({"nnapi_accelerator_name": detail} if detail else {}),
        "hexagon": {"use_hexagon": "true"},
        "npu": {"use_npu": "true"},
        "external": {"external_delegate_path": detail},
    }
    if kind not in known:
        raise StableDeviceError(
            f"there is no delegate {settings.delegate!r}", hint=f"Known: {', '.join(known)[2:]}."
        )
    full = {"require_full_delegation": "true"} if settings.require_full_delegation else {}
    return known[kind] | full


def _report_flags(runner: Installed) -> dict[str, str]:
    wanted = {"report_peak_memory_footprint": "true", "result_file_path": RESULT_FILE}
    return {flag: value for flag, value in wanted.items() if flag in runner.flags}


def _profile_flags(runner: Installed, profile_to: str) -> dict[str, str]:
    if "op_profiling_output_mode" in runner.flags:
        # The proto names subgraphs, which CSV does not; its generated code comes with ai-edge-litert.
        mode = "proto" if find_spec("ai_edge_litert") else "csv"
        output = {"op_profiling_output_mode": mode, "op_profiling_output_file": profile_to}
    else:
        output = {"profiling_output_csv_file": profile_to}
    return {"enable_op_profiling": "true"} | output


def _refuse_unknown(runner: Installed, flags: dict[str, str]) -> None:
    unknown = sorted(set(flags) - runner.flags)
    if unknown:
        raise StableDeviceError(
            f"this build of {PROGRAM} does not know {', '.join('--' + flag for flag in unknown)}",
            where=runner.folder,
            hint=f"It was built without that feature. {WHERE_TO_GET_IT}",
        )


def _refuse_on_board(settings: RunnerSettings, threads: int, profile_to: str | None) -> None:
    wanted = {
        "more than one thread": threads > 1,
        f"the delegate {settings.delegate}": settings.delegate not in ("", "xnnpack"),
        "a per-operator profile": profile_to is not None,
        "require_full_delegation": settings.require_full_delegation,
    }
    for what, asked in wanted.items():
        if asked:
            raise StableDeviceError(
                f"PerfSAGE's board runner does not offer {what}",
                hint=f"Name a {PROGRAM} as runner.path in lab.toml. {WHERE_TO_GET_IT}",
            )
