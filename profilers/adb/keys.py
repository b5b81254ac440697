"""The RSA key with which this machine introduces itself to phones."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from perfsage.errors import InvalidInputError, MissingExtraError

if TYPE_CHECKING:
    from adb_shell.auth.sign_pythonrsa import PythonRSASigner


def default_key_path() -> Path:
    """Return `PERFSAGE_ADB_KEY`, the Android tools' own key where there is one, or PerfSAGE's."""
    if chosen := os.environ.get("PERFSAGE_ADB_KEY"):
        return Path(chosen)
    android = Path.home() / ".android" / "adbkey"
    if android.exists():
        return android
    config = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    return config / "perfsage" / "adbkey"


def load_signer(path: Path) -> PythonRSASigner:
    """Return a signer for the private key at `path`, made first where there is none.

    The private key is readable by its owner only (0600), also when another tool left it wider.
    """
    try:
        from adb_shell.auth.sign_pythonrsa import PythonRSASigner
    except ImportError:
        raise MissingExtraError("adb-shell", "adb") from None
    if not path.exists():
        _make_key(path)
    path.chmod(0o600)
    public = path.with_name(path.name + ".pub")
    try:
        return PythonRSASigner(public.read_text(), path.read_text())
    except (OSError, ValueError, IndexError) as error:
        raise InvalidInputError(
            f"the ADB key cannot be read: {error}",
            where=str(path),
            hint="Remove it and its .pub to get a new one.",
        ) from error


def _make_key(path: Path) -> None:
    from adb_shell.auth.keygen import keygen

    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    # keygen() leaves the private key readable by everybody: it is written below a narrow umask.
    before = os.umask(0o077)
    try:
        keygen(str(path))
    finally:
        os.umask(before)
