"""Excel workbooks: cells are read as Excel means them, EdgeMark's own is imported, others are refused."""

from __future__ import annotations

import json
import zipfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from xml.sax.saxutils import escape

import pytest

from dataset.sources import import_source
from dataset.sources.edgemark_workbook import WORKBOOK, read_runs
from dataset.sources.workbook import read_workbook
from dataset.store import Store
from perfsage.errors import InvalidInputError

MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
RELATIONS = "http://schemas.openxmlformats.org/package/2006/relationships"
HEADINGS = {
    "A1": "Model Name", "B1": "Model Type", "C1": "Flash (kB)", "D1": "RAM (kB)", "E1": "Execution Time (ms)",
    "E2": "n tests", "F2": "average", "G2": "std", "H1": "Error (MAE)", "H2": "n tests", "I2": "average",
    "J2": "std", "K1": "Model Directory",
}  # fmt: skip
MERGED = ["A1:A2", "B1:B2", "C1:C2", "D1:D2", "E1:G1", "H1:J1", "K1:K2", "A3:Z3"]
Cells = Mapping[str, str | float]


def sheet(cells: Cells, merged: list[str], texts: list[str]) -> str:
    """The XML of a sheet, with texts shared as Excel does; an empty cell stands in every merged range."""

    def cell(place: str, content: str | float) -> str:
        if isinstance(content, str):
            texts.append(content)
            return f'<c r="{place}" t="s"><v>{len(texts) - 1}</v></c>'
        return f'<c r="{place}"><v>{content!r}</v></c>'

    rows = "".join(f"<row>{cell(place, content)}</row>" for place, content in cells.items())
    rows += '<row><c r="Z9"><v/></c></row>'
    ranges = "".join(f'<mergeCell ref="{reference}"/>' for reference in merged)
    return f'<worksheet xmlns="{MAIN}"><sheetData>{rows}</sheetData>{ranges}</worksheet>'


def workbook(path: Path, sheets: Mapping[str, tuple[Cells, list[str]]], **parts: str) -> Path:
    """Write a workbook; `parts` replaces parts by name, with _ for the dot."""
    texts: list[str] = []
    content = {f"worksheets_{n}": sheet(*cells, texts) for n, cells in enumerate(sheets.values())}
    content["workbook"] = f'<workbook xmlns="{MAIN}" xmlns:r="{OFFICE}"><sheets>' + "".join(
        f'<sheet name="{escape(name)}" r:id="rId{n}"/>' for n, name in enumerate(sheets)
    )
    content["workbook"] += "</sheets></workbook>"
    content["_rels/workbook"] = f'<Relationships xmlns="{RELATIONS}">' + "".join(
        f'<Relationship Id="rId{n}" Target="worksheets_{n}.xml"/>' for n in range(len(sheets))
    )
    content["_rels/workbook"] += "</Relationships>"
    shared = "".join(f"<si><r><t>{escape(text)}</t></r></si>" for text in texts)
    content["sharedStrings"] = f'<sst xmlns="{MAIN}">{shared}</sst>'
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in (content | parts).items():
            suffix = ".xml.rels" if name.startswith("_rels") else ".xml"
            archive.writestr(f"xl/{name}{suffix}", text)
    return path


def edgemark(path: Path) -> Path:
    stm: dict[str, str | float] = {
        "A4": "CNN_1", "B4": "basic", "C4": 125.5, "D4": 11.6015625, "E4": 10, "F4": 10.5, "G4": 0.021,
        "B5": "q_full_int", "C5": 80.0, "E5": 10, "F5": 9.0, "G5": 0.0, "H5": 10, "I5": 0.5, "J5": 0.1,
        "B6": "q_16x8", "A8": "FC & 1", "C8": 20.0, "D8": 4.0, "E8": 10, "F8": 0.25,
    }  # fmt: skip
    people = {"A1": "Model Name", "B1": "Active", "A2": "CNN_1", "B2": 1}
    sheets = {
        "Metadata - Models": (people, []),
        "TFLM + STM": (HEADINGS | stm, [*MERGED, "A4:A6", "A7:Z7"]),
        "EI + Renesas": (HEADINGS | {"A4": "CNN_1", "B4": "basic", "C4": 1.0, "E4": 10, "F4": 2.0}, MERGED),
    }
    return workbook(path, sheets)


def test_runs_of_edgemarks_workbook(tmp_path: Path) -> None:
    left_out: Counter[str] = Counter()
    edgemark(tmp_path / WORKBOOK)
    runs = read_runs(tmp_path, left_out)
    assert [(run["setup"], run["model"], run["variant"]) for run in runs] == [
        ("TFLM + STM", "CNN_1", "basic"), ("TFLM + STM", "CNN_1", "q_full_int"),
        ("TFLM + STM", "FC & 1", "basic"), ("EI + Renesas", "CNN_1", "basic"),
    ]  # fmt: skip
    assert runs[0] == {
        "setup": "TFLM + STM", "model": "CNN_1", "variant": "basic", "flash_kb": 125.5, "ram_kb": 11.6015625,
        "runs": 10.0, "latency_ms_mean": 10.5, "latency_ms_std": 0.021,
    }  # fmt: skip
    assert (runs[1]["ram_kb"], runs[2]["latency_ms_std"]) == (None, None)
    assert left_out == {"runs without a latency or a size": 1}


def test_edgemarks_workbook_is_imported(tmp_path: Path) -> None:
    path = edgemark(tmp_path / "Experiments.xlsx")
    with Store.open(tmp_path / "mcu.db") as store:
        done = import_source(store, "edgemark", path)
        assert (done.devices, done.networks, done.measurements) == (2, 3, 12)
        assert sum(done.left_out.values()) == 1
        frame = store.frame(device="edgemark-tflm-stm")
        latencies = frame[frame["metric"] == "latency_ms"]
        assert sorted(latencies["value"]) == [0.25, 9.0, 10.5]
        noise = [json.loads(text).get("noise") for text in latencies.sort_values("value")["conditions"]]
        assert noise == [None, 0.0, 0.002]


def test_cells_of_every_kind(tmp_path: Path) -> None:
    cells = (
        '<c r="A1" t="inlineStr"><is><t>in</t><t>line</t></is></c><c r="B1" t="str"><f>A1</f><v>made</v></c>'
        '<c r="C1" t="e"><v>#DIV/0!</v></c><c r="D1"><f>1+1</f><v>2</v></c>'
        '<c r="E1" t="d"><v>2026-01-02</v></c>'
    )
    text = f'<worksheet xmlns="{MAIN}"><sheetData><row>{cells}</row></sheetData></worksheet>'
    path = workbook(tmp_path / "a.xlsx", {"one": ({}, [])}, worksheets_0=text)
    assert read_workbook(path) == {"one": {1: {"A": "inline", "B": "made", "D": 2.0, "E": "2026-01-02"}}}


def test_merged_ranges_of_one_column_are_filled(tmp_path: Path) -> None:
    path = workbook(tmp_path / "a.xlsx", {"one": ({"A1": "x", "B1": 1, "C1": 2}, ["A1:A3", "B1:C2"])})
    assert read_workbook(path)["one"] == {1: {"A": "x", "B": 1.0, "C": 2.0}, 2: {"A": "x"}, 3: {"A": "x"}}


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"workbook": "<workbook"}, "no element found|unclosed"),
        ({"_rels/workbook": "<x/>"}, "no Excel workbook"),
        ({"worksheets_0": '<!DOCTYPE x [<!ENTITY a "b">]><x>&a;</x>'}, "document type"),
        ({"worksheets_0": " " * (33 << 20)}, "larger than 32 MB"),
        ({"worksheets_0": f'<w xmlns="{MAIN}"><c r="A0B"><v>1</v></c></w>'}, "'A0B' is no cell"),
        ({"worksheets_0": f'<w xmlns="{MAIN}"><c r="A1" t="s"><v>7</v></c></w>'}, "no Excel workbook"),
        (
            {"worksheets_0": f'<w xmlns="{MAIN}"><c r="A1"><v>1</v></c><mergeCell ref="A1:A9999999"/></w>'},
            "merges too many",
        ),
    ],
)
def test_damaged_workbooks_are_refused(tmp_path: Path, parts: dict[str, str], message: str) -> None:
    path = workbook(tmp_path / "a.xlsx", {"one": ({}, [])}, **parts)
    with pytest.raises(InvalidInputError, match=message):
        read_workbook(path)


def test_a_file_that_is_no_workbook_leaves_no_rows(tmp_path: Path) -> None:
    (tmp_path / "text.xlsx").write_text("setup,model\n")
    other = workbook(tmp_path / "other.xlsx", {"one": ({"A1": "Model Name"}, [])})
    with Store.open(tmp_path / "mcu.db") as store:
        for path, message in (
            (tmp_path / "text.xlsx", "no Excel workbook"),
            (other, "no sheet holds results"),
        ):
            with pytest.raises(InvalidInputError, match=message):
                import_source(store, "edgemark", path)
        with pytest.raises(InvalidInputError, match="there is no such file"):
            import_source(store, "edgemark", tmp_path)
        assert store.stats().networks == 0
