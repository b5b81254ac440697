"""Real Android packages: assembled, aligned and signed by Debian's own build tools."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

FRAMEWORK = Path("/usr/share/android-framework-res/framework-res.apk")
MANIFEST = """<?xml version="1.0" encoding="utf-8"?>
<manifest xmlns:android="http://schemas.android.com/apk/res/android" package="{package}"
    android:versionCode="{code}" android:versionName="1.{code}">
  <uses-sdk android:minSdkVersion="21" android:targetSdkVersion="28"/>
  <application android:label="@string/app_name">
    <meta-data android:name="com.google.mlkit.vision.DEPENDENCIES" android:value="face"/>
  </application>
</manifest>
"""
STRINGS = '<resources><string name="app_name">{label}</string></resources>'
CLASS = """.class public Lorg/{name};
.super Ljava/lang/Object;
.method public static main([Ljava/lang/String;)V
    .registers 1
    return-void
.end method
"""


def need(*tools: str) -> None:
    """Skip the test where Debian's packages aapt, zipalign, apksigner, smali are not installed."""
    for tool in tools:
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed (apt-get install {tool})")
    if not FRAMEWORK.exists():
        pytest.skip("the framework's resources are not installed (apt-get install android-framework-res)")


def run(*command: object, cwd: Path | None = None) -> None:
    subprocess.run([str(part) for part in command], check=True, capture_output=True, timeout=120, cwd=cwd)


def assemble(
    folder: Path,
    assets: dict[str, bytes],
    *,
    package: str = "org.example.app",
    code: int = 1,
    label: str = "Example",
    stored: tuple[str, ...] = ("tflite",),
) -> Path:
    """Return an APK with `assets` (paths below assets/); endings in `stored` are not compressed."""
    need("aapt")
    root = folder / f"{package}-{code}"
    (root / "res/values").mkdir(parents=True)
    (root / "res/values/strings.xml").write_text(STRINGS.format(label=label))
    # Another language must not be taken for the app's name.
    (root / "res/values-de").mkdir()
    (root / "res/values-de/strings.xml").write_text(STRINGS.format(label="Beispiel"))
    manifest = root / "AndroidManifest.xml"
    manifest.write_text(MANIFEST.format(package=package, code=code))
    for name, data in assets.items():
        target = root / "assets" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
    (root / "assets").mkdir(exist_ok=True)
    apk = folder / f"{package}-{code}.apk"
    zero = [part for ending in stored for part in ("-0", ending)]
    run("aapt", "package", "-f", "-M", manifest, "-S", root / "res", "-A", root / "assets",
        "-I", FRAMEWORK, *zero, "-F", apk)  # fmt: skip
    return apk


def dex(folder: Path, *classes: str) -> Path:
    """Return a classes.dex with these classes (`tensorflow/lite/Interpreter` below org/)."""
    need("smali")
    sources = folder / "smali"
    sources.mkdir()
    for number, name in enumerate(classes):
        (sources / f"{number}.smali").write_text(CLASS.format(name=name))
    run("smali", "assemble", "-o", folder / "classes.dex", sources)
    return folder / "classes.dex"


def add(apk: Path, file: Path) -> None:
    """Add a file to the root of an APK."""
    run("aapt", "add", apk, file.name, cwd=file.parent)


def sign(folder: Path, apk: Path) -> Path:
    """Return the APK aligned and signed (schemes 1 to 3) with a new key."""
    need("zipalign", "apksigner", "keytool")
    aligned, key = folder / "aligned.apk", folder / "key.p12"
    run("zipalign", "-p", "-f", 4, apk, aligned)
    run("keytool", "-genkeypair", "-keystore", key, "-storetype", "PKCS12", "-storepass", "password",
        "-alias", "a", "-keyalg", "EC", "-dname", "CN=Test", "-validity", 10)  # fmt: skip
    run("apksigner", "sign", "--ks", key, "--ks-pass", "pass:password", "--min-sdk-version", 21, aligned)
    return aligned
