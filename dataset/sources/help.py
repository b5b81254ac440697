"""HELP: latencies of NAS-Bench-201 and FBNet on phones, boards, CPUs and GPUs (arXiv:2106.08630)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dataset.sources.columns import Column, ColumnDevice, read_columns
from dataset.sources.source import Found, Options, Source, wrong
from dataset.sources.tables import numbers, read_table
from dataset.sources.torch_files import read_numbers, read_torch
from dataset.spaces.fbnet import BLOCKS

_TFLITE = "TensorFlow Lite"
_UNSTATED = "not stated"
_PREFIX = "help_"
_SINGLE = {
    "raspi4": ColumnDevice(kind="board", description="Raspberry Pi 4", runtime=_TFLITE),
    "pixel2": ColumnDevice(kind="phone", description="Google Pixel 2", runtime=_TFLITE),
    "pixel3": ColumnDevice(kind="phone", description="Google Pixel 3", runtime=_TFLITE),
    "samsung_a50": ColumnDevice(kind="phone", description="Samsung Galaxy A50", runtime=_TFLITE),
    "samsung_s7": ColumnDevice(kind="phone", description="Samsung Galaxy S7", runtime=_TFLITE),
    "essential_ph_1": ColumnDevice(kind="phone", description="Essential Phone PH-1", runtime=_TFLITE),
    "eyeriss": ColumnDevice(
        kind="accelerator",
        description="Eyeriss: few distinct values, which look computed from a model of the chip",
        runtime="analytic model",
        is_analytic=True,
    ),
    "fpga": ColumnDevice(
        kind="accelerator",
        description="FPGA: few distinct values, which look computed from a model of the chip",
        runtime="analytic model",
        is_analytic=True,
    ),
    "gold_6226": ColumnDevice(kind="cpu", description="Intel Xeon Gold 6226", runtime=_UNSTATED),
    "gold_6240": ColumnDevice(kind="cpu", description="Intel Xeon Gold 6240", runtime=_UNSTATED),
    "silver_4114": ColumnDevice(kind="cpu", description="Intel Xeon Silver 4114", runtime=_UNSTATED),
    "silver_4210r": ColumnDevice(kind="cpu", description="Intel Xeon Silver 4210R", runtime=_UNSTATED),
}
_GPUS = {
    "1080ti": "NVIDIA GTX 1080 Ti",
    "2080ti": "NVIDIA RTX 2080 Ti",
    "titan_rtx": "NVIDIA Titan RTX",
    "titanx": "NVIDIA Titan X",
    "titanxp": "NVIDIA Titan Xp",
}


def about(name: str) -> ColumnDevice | None:
    """Return what is known of HELP's device of that name; the number after a GPU's is the batch."""
    if name in _SINGLE:
        return _SINGLE[name]
    found = re.fullmatch(r"(.+)_([0-9]{1,4})", name)
    if found is None or found[1] not in _GPUS:
        return None
    description = f"{_GPUS[found[1]]}, batches of {found[2]}"
    return ColumnDevice(kind="gpu", description=description, runtime=_UNSTATED, batch=int(found[2]))


@dataclass(frozen=True, slots=True)
class Help:
    """Reads one of HELP's two spaces: its folder of .pt files, or a table with columns `help_DEVICE`."""

    source: Source
    space: str
    text_column: str

    def read(self, path: Path, options: Options) -> Found:
        """Return what a folder (the repository, or data/SPACE in it) or a table holds."""
        texts, columns = self._folder(path) if path.is_dir() else self._table(path)
        return read_columns(self.space, texts, columns, path, self.source.title)

    def _table(self, path: Path) -> tuple[list[str], Mapping[str, tuple[ColumnDevice, Column]]]:
        frame = read_table(path, [self.text_column])
        columns = {}
        for column in frame.columns:
            device = about(column.removeprefix(_PREFIX)) if column.startswith(_PREFIX) else None
            if device is not None:
                columns[_device_name(column.removeprefix(_PREFIX))] = (device, numbers(frame, column, path))
        return [str(text) for text in frame[self.text_column]], columns

    def _folder(self, path: Path) -> tuple[list[str], Mapping[str, tuple[ColumnDevice, Column]]]:
        inner = path / "data" / self.space
        folder = inner if inner.is_dir() else path
        texts = _cells(folder) if self.space == "nasbench201" else _blocks(folder)
        columns: dict[str, tuple[ColumnDevice, Column]] = {}
        for file in sorted((folder / "latency").glob("*.pt")):
            device = about(file.stem)
            if device is not None:
                values = read_numbers(file)
                known = [values[row] for row in texts if row < len(values)]
                if len(known) != len(texts):
                    raise wrong(f"the file has {len(values)} latencies and too few for the networks", file)
                columns[_device_name(file.stem)] = (device, known)
        return list(texts.values()), columns


def _device_name(name: str) -> str:
    return f"help-{name.replace('_', '-')}"


def _cells(folder: Path) -> dict[int, str]:
    """Return the cell of each row of the latency files."""
    path = folder / "str_arch2idx.pt"
    index = read_torch(path)
    if not isinstance(index, dict) or not all(
        isinstance(k, str) and isinstance(v, int) for k, v in index.items()
    ):
        raise wrong("the file does not map cells to rows", path)
    return {row: text for text, row in sorted(index.items(), key=lambda item: item[1])}


def _blocks(folder: Path) -> dict[int, str]:
    """Return the blocks of each row of the latency files."""
    path = folder / "metainfo.pt"
    content: Any = read_torch(path)
    names = tuple(BLOCKS)
    try:
        return {
            row: " ".join(names[int(block)] for block in entry["op_idx_list"])
            for row, entry in enumerate(content["arch"])
        }
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise wrong(f"the file does not list networks by their blocks: {error!r}", path) from error


_FILES = "data/{0}/latency/*.pt"
_NOTE = (
    "Pixel 2, Galaxy A50, Galaxy S7 and Essential Phone are in whole milliseconds. Eyeriss and FPGA are "
    "analytic: nothing ran. Of GPUs the number is the batch, and the latency that of a whole batch."
)

NASBENCH201 = Help(
    Source(
        name="help-nasbench201",
        title="HELP",
        url="https://github.com/HayeonLee/HELP",
        licence="MIT",
        files=("data/nasbench201/str_arch2idx.pt", _FILES.format("nasbench201")),
        note=_NOTE,
    ),
    "nasbench201",
    "cell",
)
FBNET = Help(
    Source(
        name="help-fbnet",
        title="HELP",
        url="https://github.com/HayeonLee/HELP",
        licence="MIT",
        files=("data/fbnet/metainfo.pt", _FILES.format("fbnet")),
        note=_NOTE,
    ),
    "fbnet",
    "ops",
)
