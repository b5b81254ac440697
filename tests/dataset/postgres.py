"""A throwaway PostgreSQL cluster of the installed server, reached through a socket alone."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa

_SERVER_ACCOUNT = "postgres"


def missing() -> str | None:
    """Say what has to be installed before `cluster` works; None where all is there."""
    if _binary("initdb") is None or _binary("pg_ctl") is None:
        return "PostgreSQL's initdb and pg_ctl are not installed (apt-get install postgresql)"
    return None


def _binary(name: str) -> str | None:
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    return str(found[-1]) if found else shutil.which(name)


@contextmanager
def cluster(*, durable: bool = False) -> Iterator[str]:
    """Run a cluster, and yield the query part of its URLs; only a durable one waits for the disk (fsync)."""
    # The server refuses to run as root, and its account must be able to enter the folder.
    account = {"user": _SERVER_ACCOUNT} if os.geteuid() == 0 else {}
    folder = Path(tempfile.mkdtemp(prefix="perfsage-pg-"))
    if account:
        shutil.chown(folder, _SERVER_ACCOUNT)
    data, options = folder / "data", f"-k {folder} -c listen_addresses= -c fsync={'on' if durable else 'off'}"

    def run(program: str, *arguments: str) -> None:
        command = [str(_binary(program)), "-D", str(data), *arguments]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd="/", timeout=120, **account)

    try:
        run("initdb", "-A", "trust", "-U", "tester", "--no-sync")
        run("pg_ctl", "-o", options, "-l", str(folder / "log"), "-w", "start")
        try:
            yield f"host={folder}"
        finally:
            run("pg_ctl", "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def new_database(server: str) -> str:
    """Return the URL of a new, empty database of a cluster."""
    name = f"t{uuid.uuid4().hex}"
    admin = sa.create_engine(f"postgresql+psycopg://tester@/postgres?{server}", isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(sa.text(f"CREATE DATABASE {name}"))
    admin.dispose()
    return f"postgresql://tester@/{name}?{server}"
