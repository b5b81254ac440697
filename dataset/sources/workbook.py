"""Read the cells of an Excel workbook (.xlsx): a zip archive of XML parts, ISO/IEC 29500 (Office Open XML).

Only what tables of results need: numbers and texts by sheet, row and column. Formulas give the value that was
stored with them; styles, dates and pictures are not looked at.
"""

from __future__ import annotations

import posixpath
import re
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

from dataset.sources.source import wrong

Cell = str | float
Rows = dict[int, dict[str, Cell]]
"""Row number, counted from 1 -> column letters -> content; empty cells are left out."""

_LARGEST_PART_BYTES = 32 << 20
_MOST_SHEETS = 200
_MOST_MERGED_CELLS = 100_000
_SHEET = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
_PACKAGE = "{http://schemas.openxmlformats.org/package/2006/relationships}"
_ID = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}id"
_BROKEN = (
    zipfile.BadZipFile, zlib.error, ElementTree.ParseError, KeyError, IndexError, ValueError, EOFError,
    OSError, NotImplementedError, RuntimeError,
)  # fmt: skip


def read_workbook(path: Path) -> dict[str, Rows]:
    """Return the cells of every sheet, by the sheet's name; a merged range has its content in every cell.

    InvalidInputError for a file that is no workbook, or larger than any table of results.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            texts = _shared_texts(archive)
            return {name: _rows(_part(archive, part), texts) for name, part in _sheets(archive)}
    except _BROKEN as error:
        raise wrong(f"this is no Excel workbook: {error}", path, "Is this the right file?") from error


def _part(archive: zipfile.ZipFile, name: str) -> ElementTree.Element:
    with archive.open(name) as file:
        data = file.read(_LARGEST_PART_BYTES + 1)
    if len(data) > _LARGEST_PART_BYTES:
        raise ValueError(f"{name} is larger than {_LARGEST_PART_BYTES >> 20} MB")
    if b"<!DOCTYPE" in data or b"\0" in data:
        # Entities could grow without bounds; no program writes any into a workbook. UTF-16 could hide them.
        raise ValueError(f"{name} declares a document type")
    return ElementTree.fromstring(data)


def _sheets(archive: zipfile.ZipFile) -> Iterator[tuple[str, str]]:
    """Yield the name and the part of every sheet, in the workbook's order."""
    relations = _part(archive, "xl/_rels/workbook.xml.rels")
    targets = {item.attrib["Id"]: item.attrib["Target"] for item in relations.iter(f"{_PACKAGE}Relationship")}
    for count, sheet in enumerate(_part(archive, "xl/workbook.xml").iter(f"{_SHEET}sheet")):
        if count >= _MOST_SHEETS:
            raise ValueError(f"it has more than {_MOST_SHEETS} sheets")
        part = posixpath.normpath(posixpath.join("/xl", targets[sheet.attrib[_ID]]))
        yield sheet.attrib["name"], part.removeprefix("/")


def _shared_texts(archive: zipfile.ZipFile) -> list[str]:
    if "xl/sharedStrings.xml" not in archive.namelist():
        return []
    return [_text(item) for item in _part(archive, "xl/sharedStrings.xml").iter(f"{_SHEET}si")]


def _text(item: ElementTree.Element) -> str:
    return "".join(run.text or "" for run in item.iter(f"{_SHEET}t"))


def _rows(sheet: ElementTree.Element, texts: list[str]) -> Rows:
    rows: Rows = {}
    for cell in sheet.iter(f"{_SHEET}c"):
        content = _content(cell, texts)
        if content is not None:
            column, row = _place(cell.attrib["r"])
            rows.setdefault(row, {})[column] = content
    for merged in sheet.iter(f"{_SHEET}mergeCell"):
        _fill_down(rows, merged.attrib["ref"])
    return rows


def _content(cell: ElementTree.Element, texts: list[str]) -> Cell | None:
    kind = cell.get("t", "n")
    if kind == "inlineStr":
        return _text(cell)
    value = cell.findtext(f"{_SHEET}v")
    if not value or kind == "e":
        return None
    if kind == "s":
        return texts[int(value)]
    return float(value) if kind == "n" else value


def _place(reference: str) -> tuple[str, int]:
    found = re.fullmatch(r"\$?([A-Z]{1,3})\$?([0-9]{1,7})", reference)
    if found is None:
        raise ValueError(f"{reference!r} is no cell")
    return found[1], int(found[2])


def _fill_down(rows: Rows, reference: str) -> None:
    """Repeat the content of a range of one column in all of its rows; wider ranges are headings."""
    first, _, last = reference.partition(":")
    (column, top), (other, bottom) = _place(first), _place(last or first)
    content = rows.get(top, {}).get(column)
    if column != other or content is None:
        return
    if bottom - top > _MOST_MERGED_CELLS:
        raise ValueError(f"{reference} merges too many cells")
    for row in range(top + 1, bottom + 1):
        rows.setdefault(row, {}).setdefault(column, content)
