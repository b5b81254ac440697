"""Real databases for the tests: a SQLite file, and a throwaway PostgreSQL cluster where it is installed."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.dataset import postgres


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """A socket-only cluster without fsync; yields the query part of its URLs."""
    if lacks := postgres.missing():
        pytest.skip(lacks)
    pytest.importorskip("psycopg")
    with postgres.cluster() as server:
        yield server


@pytest.fixture
def postgres_url(postgres_server: str) -> str:
    """The URL of a new, empty database."""
    return postgres.new_database(postgres_server)


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL or path of an empty database of each kind."""
    if request.param == "sqlite":
        return str(tmp_path / "dataset.db")
    return str(request.getfixturevalue("postgres_url"))
