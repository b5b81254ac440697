"""TFLite's reference kernels, which come as headers of Debian's packages.

apt fetches them into a cache of our own, from Debian's own archive, with its keys, and leaves the machine's
package lists alone; dpkg unpacks them.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from profilers.serial.toolchain import cache_folder, made, run_tool

HEADER_PACKAGES = ("libtensorflow-lite-dev", "libflatbuffers-dev", "libgemmlowp-dev", "libruy-dev")
DEBIAN_SOURCE = """\
Types: deb
URIs: http://deb.debian.org/debian
Suites: sid
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
"""
FETCH_TIMEOUT_S = 180.0
ANSWER_TIMEOUT_S = 20
"""A network that swallows packets shows itself only by silence."""


def fetch_headers() -> Path:
    """Return the folder with the kernels' headers, fetched by apt the first time."""
    root = cache_folder() / "headers"
    if (root / "usr/include/tensorflow/lite").is_dir():
        return root / "usr/include"
    with tempfile.TemporaryDirectory(dir=made(cache_folder())) as name:
        folder = Path(name)
        apt = ["apt-get", *_apt_options(folder), "-q"]
        run_tool([*apt, "update"], folder, timeout_s=FETCH_TIMEOUT_S)
        run_tool([*apt, "download", *HEADER_PACKAGES], folder, timeout_s=FETCH_TIMEOUT_S)
        for package in sorted(folder.glob("*.deb")):
            run_tool(["dpkg", "-x", str(package), "root"], folder)
        shutil.rmtree(root, ignore_errors=True)
        (folder / "root").replace(root)
    return root / "usr/include"


def _apt_options(folder: Path) -> list[str]:
    for part in ("sources", "lists/partial", "cache/archives/partial"):
        made(folder / part)
    (folder / "sources" / "debian.sources").write_text(DEBIAN_SOURCE)
    settings = {
        "Dir::Etc::sourcelist": "/dev/null",
        "Dir::Etc::sourceparts": folder / "sources",
        "Dir::State::lists": folder / "lists",
        "Dir::State::status": "/dev/null",
        "Dir::Cache": folder / "cache",
        # The unprivileged fetcher of apt cannot enter a folder that only its owner may enter.
        "APT::Sandbox::User": "root",
        "Acquire::Retries": 1,
        "Acquire::http::Timeout": ANSWER_TIMEOUT_S,
    }
    return [word for key, value in settings.items() for word in ("-o", f"{key}={value}")]
