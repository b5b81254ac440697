"""Devices and tools that measure models, behind one protocol."""

from profilers.profiler import Model, Outcome, Plan, Profiler
from profilers.registry import Family, describe, device_names, open_profiler, register_family, shares_pool
from profilers.workers import Job, Reply, WorkerPool

__all__ = [
    "Family",
    "Job",
    "Model",
    "Outcome",
    "Plan",
    "Profiler",
    "Reply",
    "WorkerPool",
    "describe",
    "device_names",
    "open_profiler",
    "register_family",
    "shares_pool",
]
