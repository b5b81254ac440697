"""Real databases for the tests: a SQLite file, and a throwaway PostgreSQL cluster where it is installed."""

import os
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

_SERVER_ACCOUNT = "postgres"


def _binary(name: str) -> str | None:
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    return str(found[-1]) if found else shutil.which(name)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """A socket-only cluster without fsync; yields the query part of its URLs."""
    initdb, postgres_control = _binary("initdb"), _binary("pg_ctl")
    if initdb is None or postgres_control is None:
        pytest.skip("PostgreSQL's initdb and pg_ctl are not installed (apt-get install postgresql)")
    pytest.importorskip("psycopg")
    # The server refuses to run as root, and its account must be able to enter the folder.
    account = {"user": _SERVER_ACCOUNT} if os.geteuid() == 0 else {}
    folder = Path(tempfile.mkdtemp(prefix="perfsage-pg-"))
    if account:
        shutil.chown(folder, _SERVER_ACCOUNT)
    data, options = folder / "data", f"-k {folder} -c listen_addresses= -c fsync=off"

    def run(*command: str) -> None:
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd="/", timeout=120, **account)

    run(initdb, "-D", str(data), "-A", "trust", "-U", "tester", "--no-sync")
    run(postgres_control, "-D", str(data), "-o", options, "-l", str(folder / "log"), "-w", "start")
    try:
        yield f"host={folder}"
    finally:
        run(postgres_control, "-D", str(data), "-m", "immediate", "stop")
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def postgres_url(postgres_server: str) -> str:
    """The URL of a new, empty database."""
    name = f"t{uuid.uuid4().hex}"
    admin = sa.create_engine(
        f"postgresql+psycopg://tester@/postgres?{postgres_server}", isolation_level="AUTOCOMMIT"
    )
    with admin.connect() as connection:
        connection.execute(sa.text(f"CREATE DATABASE {name}"))
    admin.dispose()
    return f"postgresql://tester@/{name}?{postgres_server}"


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL or path of an empty database of each kind."""
    if request.param == "sqlite":
        return str(tmp_path / "dataset.db")
    return str(request.getfixturevalue("postgres_url"))
