"""`perfsage dataset build`: files and their manifest."""

import json
from pathlib import Path

import pytest

from api.cli.main import run
from dataset.spaces.known import known_space
from dataset.spaces.known_files import write_networks
from perfsage.errors import InvalidInputError
from perfsage.graph import read_graph

CELLS = (
    "|nor_conv_1x1~0|+|none~0|none~1|+|skip_connect~0|avg_pool_3x3~1|none~2|",
    "|none~0|+|none~0|none~1|+|skip_connect~0|none~1|none~2|",
    "|nor_conv_1x1~0|+|none~0|none~1|+|skip_connect~0|avg_pool_3x3~1|none~2|",
)


@pytest.fixture
def cells(tmp_path: Path) -> Path:
    path = tmp_path / "cells.txt"
    path.write_text("\n".join(CELLS) + "\n")
    return path


def manifest(output: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in (output / "manifest.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_one_file_a_line_in_the_order_of_the_list(
    cells: Path, tmp_path: Path, dtype: str, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "deep" / "nets"
    command = ["dataset", "build", "nasbench201", "--architectures", str(cells), "--output", str(output)]
    assert run([*command, "--dtype", dtype, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "schema_version": "1.0", "space": "nasbench201", "dtype": dtype,
        "networks": 3, "built": 3, "reused": 0,
    }  # fmt: skip
    rows = manifest(output)
    assert [row["architecture"] for row in rows] == list(CELLS)
    for row in rows:
        data = (output / row["path"]).read_bytes()
        assert data == known_space("nasbench201").parse(row["architecture"]).build(dtype).data  # type: ignore[arg-type]
        assert row["graph_id"] == read_graph(data).graph_id
    assert len(list(output.iterdir())) == 4


def test_an_interrupted_run_goes_on_and_damaged_files_are_built_again(cells: Path, tmp_path: Path) -> None:
    class Stopped(Exception):
        pass

    def stop(_: object) -> None:
        raise Stopped

    output = tmp_path / "nets"
    with pytest.raises(Stopped):
        write_networks("nasbench201", cells, output, "int8", stop)
    assert not (output / "manifest.jsonl").exists()
    done = write_networks("nasbench201", cells, output, "int8")
    assert (done.built, done.reused) == (2, 1)
    before = manifest(output)
    (output / before[0]["path"]).write_bytes(b"half a file")
    done = write_networks("nasbench201", cells, output, "int8")
    assert (done.built, done.reused) == (1, 2)
    assert manifest(output) == before


def test_another_list_or_dtype_never_reuses_a_file(cells: Path, tmp_path: Path) -> None:
    output = tmp_path / "nets"
    write_networks("nasbench201", cells, output, "int8")
    assert write_networks("nasbench201", cells, output, "float32").built == 3
    cells.write_text(CELLS[1])
    assert write_networks("nasbench201", cells, output, "int8").built == 1


@pytest.mark.parametrize(
    ("content", "message", "place"),
    [
        (f"{CELLS[0]}\n\n{CELLS[1]}\n".encode(), "3 nodes", "line 2"),
        (f"{CELLS[0]}\n{CELLS[1]}+\n".encode(), "has 4", "line 2"),
        (f"{CELLS[0]}\n{CELLS[1]}\n".encode() + b"\xff", "not UTF-8", "line 3"),
        (b"", "empty", "cells.txt"),
    ],
)
def test_wrong_lines_are_named_and_nothing_is_written(
    cells: Path, tmp_path: Path, content: bytes, message: str, place: str
) -> None:
    cells.write_bytes(content)
    with pytest.raises(InvalidInputError, match=message) as caught:
        write_networks("nasbench201", cells, tmp_path / "nets", "int8")
    assert caught.value.where is not None and place in caught.value.where
    assert not (tmp_path / "nets").exists()


@pytest.mark.parametrize(
    ("changes", "status"),
    [(["--dtype", "int4"], 12), (["--architectures", "/nowhere/cells.txt"], 12)],
)
def test_options_that_cannot_be_used(
    cells: Path, tmp_path: Path, changes: list[str], status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    output = str(tmp_path / "nets")
    command = ["dataset", "build", "nasbench201", "--architectures", str(cells), "--output", output]
    assert run([*command, *changes]) == status
    assert "Error:" in capsys.readouterr().err


def test_an_unknown_space_is_named(cells: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["dataset", "build", "kws", "--architectures", str(cells), "--output", str(tmp_path / "n")]
    assert run(command) == 11
    assert "fbnet, nasbench201" in capsys.readouterr().err
