"""The contract of errors: what people, programs and clients see, whatever goes wrong."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

import perfsage.errors
from api.problems import TITLES, error_page, problem_of
from perfsage.errors import InvalidModelError, PerfsageError, UnknownNameError
from tests.api.support import PROGRAM, ROOT, Cli

CLASSES = [c for c in vars(perfsage.errors).values() if isinstance(c, type) and issubclass(c, PerfsageError)]
PAGES = sorted((ROOT / "api" / "error_pages").glob("*.md"))


@pytest.mark.parametrize("error", CLASSES)
def test_every_error_class_has_a_title_and_a_page_that_names_it(error: type[PerfsageError]) -> None:
    page = error_page(error.slug)
    assert page.startswith(f"# {TITLES[error.slug]}\n")
    assert f"`perfsage.errors.{error.__name__}`" in page
    assert f"exit status {error.exit_code}" in page


def test_every_slug_has_its_page_and_every_page_its_slug() -> None:
    assert {path.stem for path in PAGES} == set(TITLES)


def test_exit_codes_are_distinct() -> None:
    codes = [error.exit_code for error in CLASSES]
    assert len(set(codes)) == len(codes)


def test_a_problem_carries_where_and_hint() -> None:
    error = InvalidModelError("the file is cut off", offset=12)
    assert problem_of(error, status=422) == {
        "type": "/errors/invalid-model",
        "title": "Not a TFLite model that can be read",
        "status": 422,
        "detail": "The file is cut off.",
        "where": "at byte 12",
        "hint": "Check that the file is a complete .tflite file.",
    }


def test_an_error_is_text_on_stderr_and_nothing_on_stdout(cli: Cli, tmp_path: Path) -> None:
    broken = tmp_path / "broken.tflite"
    broken.write_bytes(b"no model")
    done = cli("inspect", broken)
    assert done.code == 10
    assert done.out == ""
    assert done.err.startswith("Error: ")
    assert f"Where: {broken}" in done.err
    assert "Hint: " in done.err
    assert done.err.endswith("More: perfsage explain invalid-model\n")


def test_with_json_the_error_is_one_problem_object_on_stdout(cli: Cli, tmp_path: Path) -> None:
    done = cli("inspect", "--json", tmp_path / "missing.tflite")
    assert done.code == 12
    assert done.json == {
        "type": "/errors/invalid-input",
        "title": "A value, option or file cannot be used",
        "detail": "The file cannot be read: No such file or directory.",
        "where": str(tmp_path / "missing.tflite"),
        "hint": "Check its path.",
        "exit_code": 12,
    }


def test_a_folder_is_not_a_model(cli: Cli, tmp_path: Path) -> None:
    done = cli("inspect", tmp_path)
    assert (done.code, "Is a directory" in done.err) == (12, True)


@pytest.mark.parametrize(
    "arguments", [["nonsense"], ["inspect"], ["predict", "--nonsense"], ["collect", "--count", "x"]]
)
def test_a_wrong_command_line_exits_with_2(cli: Cli, arguments: list[str]) -> None:
    done = cli(*arguments)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("Error: ")
    assert cli(*arguments, "--json").json["type"] == "/errors/usage"


def test_a_reader_that_leaves_is_no_error() -> None:
    with subprocess.Popen([*PROGRAM, "devices", "--json"], cwd=ROOT, stdout=-1, stderr=-1) as process:
        assert process.stdout and process.stderr
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141


def test_explain_shows_the_page_and_knows_no_others(cli: Cli) -> None:
    assert cli("explain", "busy").out.startswith(f"# {TITLES['busy']}\n")
    assert cli("explain", "../../etc/passwd").code == 11


def test_what_somebody_sent_is_cut_where_it_is_long() -> None:
    error = UnknownNameError(f"there is no device {'x' * 100_000!r}", where="y" * 100_000)
    assert len(str(error)) < 1500
    assert error.what.startswith("there is no device 'xxx")
    assert error.what.endswith("xxx'")
