"""OneProxy: NAS-Bench-201 latencies that nn-Meter, Eagle and HW-NAS-Bench measured (arXiv:2111.01203)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from dataset.sources.columns import Column, ColumnDevice, read_columns
from dataset.sources.pickles import read_pickled_numbers
from dataset.sources.source import Found, Options, Source, wrong
from dataset.sources.tables import numbers, read_table

_TFLITE = "TensorFlow Lite 2.1"
_UNSTATED = "not stated"
_LARGEST_LIST_BYTES = 16 << 20
DEVICES = {
    "nnmeter_cortex_a76_cpu_tflite": ("true_a76", ColumnDevice(
        kind="phone", description="Cortex-A76 CPU of a Pixel 4 (nn-Meter)", runtime=_TFLITE)),
    "nnmeter_adreno_640_gpu_tflite": ("true_640", ColumnDevice(
        kind="gpu", description="Adreno 640 GPU (nn-Meter)", runtime=_TFLITE)),
    "nnmeter_adreno_630_gpu_tflite": ("true_630", ColumnDevice(
        kind="gpu", description="Adreno 630 GPU (nn-Meter)", runtime=_TFLITE)),
    "nnmeter_myriad_vpu_openvino": ("true_vpu", ColumnDevice(
        kind="accelerator", description="Myriad VPU (nn-Meter)", runtime="OpenVINO")),
    "eagle_snapdragon_855_cpu": ("eagle_cpu_855", ColumnDevice(
        kind="phone", description="Snapdragon 855 CPU (Eagle)", runtime=_UNSTATED)),
    "eagle_snapdragon_855_gpu": ("eagle_gpu_855", ColumnDevice(
        kind="gpu", description="Snapdragon 855 GPU (Eagle)", runtime=_UNSTATED)),
    "eagle_snapdragon_855_dsp": ("eagle_dsp_855", ColumnDevice(
        kind="accelerator", description="Snapdragon 855 DSP (Eagle)", runtime=_UNSTATED)),
    "eagle_edgetpu": ("eagle_tpu", ColumnDevice(
        kind="npu", description="Edge TPU (Eagle)", runtime=_UNSTATED)),
    "eagle_jetson_nano": ("eagle_jetson", ColumnDevice(
        kind="gpu", description="Jetson Nano (Eagle)", runtime=_UNSTATED)),
    "eagle_jetson_nano_fp16": ("eagle_jetson_16", ColumnDevice(
        kind="gpu", description="Jetson Nano, 16-bit networks (Eagle)", runtime=_UNSTATED)),
    "eagle_core_i7_7820x": ("eagle_i7", ColumnDevice(
        kind="cpu", description="Intel Core i7-7820X (Eagle)", runtime=_UNSTATED)),
    "eagle_gtx_1080ti": ("eagle_gtx", ColumnDevice(
        kind="gpu", description="NVIDIA GTX 1080 Ti (Eagle)", runtime=_UNSTATED)),
    "hwnasbench_edgetpu": ("rice_edgetpu", ColumnDevice(
        kind="npu", description="Edge TPU (HW-NAS-Bench)", runtime=_UNSTATED)),
    "hwnasbench_edgegpu": ("rice_edgegpu", ColumnDevice(
        kind="gpu", description="Edge GPU, a Jetson TX2 (HW-NAS-Bench)", runtime=_UNSTATED)),
}  # fmt: skip
"""Column of a table -> the repository's file, without its suffix, and the device."""


class OneProxy:
    """Reads a table of NAS-Bench-201 cells, or a checkout of the repository together with its cells."""

    source = Source(
        name="oneproxy",
        title="OneProxy (nn-Meter, Eagle, HW-NAS-Bench)",
        url="https://github.com/Ren-Research/OneProxy",
        licence="MIT",
        files=("cells.txt", "*.pickle", "latency_data/*.pickle"),
        note="The repository encodes its cells as one-hot vectors whose order it does not document: put "
        "their texts, one a line in the order of the latencies, into cells.txt beside the pickles.",
    )

    def read(self, path: Path, options: Options) -> Found:
        """Return what a folder or a table holds."""
        texts, columns = _folder(path) if path.is_dir() else _table(path)
        return read_columns("nasbench201", texts, columns, path, self.source.title)


def _table(path: Path) -> tuple[list[str], Mapping[str, tuple[ColumnDevice, Column]]]:
    frame = read_table(path, ["cell"])
    columns = {
        _device_name(column): (device, numbers(frame, column, path))
        for column, (_, device) in DEVICES.items()
        if column in frame.columns
    }
    measured = frame[[column for column in DEVICES if column in frame.columns]].notna().any(axis=1).tolist()
    kept = {
        name: (device, [value for value, has in zip(values, measured, strict=True) if has])
        for name, (device, values) in columns.items()
    }
    return [str(cell) for cell, has in zip(frame["cell"], measured, strict=True) if has], kept


def _folder(path: Path) -> tuple[list[str], Mapping[str, tuple[ColumnDevice, Column]]]:
    cells = path / "cells.txt"
    if not cells.is_file():
        raise wrong("there is no cells.txt, which says what the rows are", path, OneProxy.source.note)
    with cells.open("rb") as file:
        texts = file.read(_LARGEST_LIST_BYTES).decode("utf-8", "replace").split()
    columns: dict[str, tuple[ColumnDevice, Column]] = {}
    for column, (stem, device) in DEVICES.items():
        for file_path in (path / "latency_data" / f"{stem}.pickle", path / f"{stem}.pickle"):
            if file_path.is_file():
                columns[_device_name(column)] = (device, list(read_pickled_numbers(file_path)))
    return texts, columns


def _device_name(column: str) -> str:
    return column.replace("_", "-")


ONEPROXY = OneProxy()
