"""Packages from npm, PyPI and Debian that carry models; needs a network, or the registries' caches."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.apps.conftest import network, places, scan

pytestmark = pytest.mark.slow


def fetch(folder: Path, *command: str) -> Path:
    """Return the one file that a package manager's own client downloads."""
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    try:
        subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=180)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
        pytest.skip(f"{command[-1]} cannot be downloaded")
    [path] = folder.iterdir()
    return path


def test_tflite_models_in_an_npm_package(tmp_path: Path) -> None:
    found = scan(fetch(tmp_path, "npm", "pack", "--silent", "@mediapipe/selfie_segmentation@0.1.1675465747"))
    assert places(found) == {
        "package/selfie_segmentation.tflite": "tflite",
        "package/selfie_segmentation_landscape.tflite": "tflite",
    }
    for finding in found.findings:
        assert finding.model.tflite is not None
        assert finding.model.tflite.task.name == "segmentation"
        assert finding.model.tflite.quantization == "float16 weights"


def test_models_of_two_frameworks_in_a_wheel(tmp_path: Path) -> None:
    download = (sys.executable, "-m", "pip", "download", "-q", "--no-deps", "silero-vad==5.1.2")
    assert places(scan(fetch(tmp_path, *download))) == {
        "silero_vad/data/silero_vad.jit": "torchscript",
        "silero_vad/data/silero_vad.onnx": "onnx",
        "silero_vad/data/silero_vad_half.onnx": "onnx",
    }


def test_every_model_of_a_debian_package_and_nothing_else(tmp_path: Path) -> None:
    package = fetch(tmp_path, "apt-get", "download", "libonnx-testdata")
    listing = subprocess.run(["dpkg-deb", "-c", package], check=True, capture_output=True, text=True).stdout
    lines = [line.split() for line in listing.splitlines() if not line.startswith("l")]
    models = {words[5].removeprefix("./") for words in lines if words[5].endswith(".onnx")}
    found = places(scan(package))
    assert len(models) > 1000
    assert {path.rpartition("!/")[2].removeprefix("./") for path in found} == models
    assert set(found.values()) == {"onnx"}


def test_native_code_in_an_npm_package(tmp_path: Path) -> None:
    found = scan(fetch(tmp_path, "npm", "pack", "--silent", "tfjs-tflite-node@0.0.2"))
    assert ("TensorFlow Lite", "symbol") in {(use.sdk, use.how) for use in found.sdks}


def test_a_real_library_for_apps(tmp_path: Path) -> None:
    """An AAR inside an npm package, with a model added to its assets."""
    package = fetch(tmp_path, "npm", "pack", "--silent", "hermes-engine@0.5.1")
    found = scan(package)
    assert (found.manifest.package, found.manifest.min_sdk) == ("com.facebook.hermes.cppruntime", 16)
    assert (found.findings, found.problems) == ((), {})
    with tarfile.open(package) as archive:
        member = archive.extractfile("package/android/hermes-cppruntime-release.aar")
        assert member is not None
        library = tmp_path / "library.aar"
        library.write_bytes(member.read())
    with zipfile.ZipFile(library, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("assets/net.tflite", network(1))
    found = scan(library)
    assert (found.kind, found.manifest.package) == ("aar", "com.facebook.hermes.cppruntime")
    assert places(found) == {"assets/net.tflite": "tflite"}
