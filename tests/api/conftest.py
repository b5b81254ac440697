"""Command lines in this process."""

from __future__ import annotations

import pytest

from api.cli.main import run
from tests.api.support import Cli, Done


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Cli:
    """Run a command line in this process."""
    monkeypatch.delenv("PERFSAGE_TRACEBACK", raising=False)

    def call(*arguments: object) -> Done:
        capsys.readouterr()
        code = run([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return Done(code, out, err)

    return call
