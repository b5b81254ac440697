"""Apps as Android's build tools make them."""

from __future__ import annotations

import gzip
import lzma
import os
import shutil
import struct
import subprocess
import zipfile
from pathlib import Path

import pytest

from dataset.apps.manifest import read_manifest
from tests.apps import android
from tests.apps.conftest import network, places, scan
from tests.apps.frameworks import EVERY_FORMAT, NCNN_BINARY, mediapipe_graph, onnx_model, zipped


def test_an_app_tells_who_it_is_and_what_it_carries(tmp_path: Path, model: bytes) -> None:
    apk = android.assemble(
        tmp_path, {"models/net.tflite": model}, package="org.example.vision", code=42, label="Seeing things"
    )
    found = scan(apk)
    assert (found.kind, found.status, found.problems) == ("apk", "complete", {})
    manifest = found.manifest
    assert (manifest.package, manifest.label) == ("org.example.vision", "Seeing things")
    assert (manifest.version_name, manifest.version_code) == ("1.42", 42)
    assert (manifest.min_sdk, manifest.target_sdk) == (21, 28)
    [finding] = found.findings
    facts = finding.model.tflite
    assert facts is not None
    assert finding.path == "assets/models/net.tflite"
    assert (finding.model.bytes, finding.model.state) == (len(model), "read")
    assert facts.operators == {"CONV_2D": 3, "FULLY_CONNECTED": 1, "MEAN": 1, "SOFTMAX": 1}
    assert facts.inputs[0].shape == (1, 32, 32, 3)
    assert (facts.quantization, facts.unknown_costs) == ("int8", 0)
    assert facts.macs > 0 and facts.parameters > 0
    assert 0 <= facts.sparsity < 0.2 and 4 < facts.entropy_bits < 8
    assert facts.task.name == "image classification"
    assert [(use.sdk, use.how) for use in found.sdks] == [("ML Kit", "manifest")]


def test_a_signed_and_aligned_app_reads_the_same(tmp_path: Path, model: bytes) -> None:
    apk = android.assemble(tmp_path, {"net.tflite": model})
    assert places(scan(android.sign(tmp_path, apk))) == places(scan(apk)) == {"assets/net.tflite": "tflite"}


def test_models_are_found_however_they_are_hidden(tmp_path: Path) -> None:
    whole = network(5)
    third = len(whole) // 3
    assets = {
        "renamed.jpg": network(1),
        "twice.zip": zipped({"inner.zip": zipped({"a/net.dat": network(2)})}),
        "packed.bin": gzip.compress(network(3)),
        "tight.bin": lzma.compress(network(4)),
        "split.tflite.part0": whole[:third],
        "split.tflite.part1": whole[third : 2 * third],
        "split.tflite.part2": whole[2 * third :],
        "again_1": network(6)[:third],
        "again_2": network(6)[third:],
    }
    found = scan(android.assemble(tmp_path, assets))
    assert {path: f.model.state for f in found.findings for path in [f.path]} == {
        "assets/renamed.jpg": "read",
        "assets/twice.zip!/inner.zip!/a/net.dat": "read",
        "assets/packed.bin": "read",
        "assets/tight.bin": "read",
        "assets/split.tflite.part0": "read",
        "assets/again_1": "read",
    }
    split = next(f.model for f in found.findings if "split" in f.path)
    assert split.bytes == len(whole) and split.evidence.endswith("in 3 parts")


def test_every_format_is_recognized_by_content_alone(tmp_path: Path) -> None:
    made = {name: make() for name, (_, make) in EVERY_FORMAT.items()}
    named = {f"named/{EVERY_FORMAT[name][0]}": data for name, data in made.items()}
    nameless = {f"nameless/{name}.dat": data for name, data in made.items()}
    found = places(scan(android.assemble(tmp_path, named | nameless | {"net.param.bin": NCNN_BINARY})))
    expected = {f"assets/named/{EVERY_FORMAT[name][0]}": name for name in made}
    expected |= {f"assets/nameless/{name}.dat": name for name in made}
    assert found == expected | {"assets/net.param.bin": "ncnn-param"}


def test_what_only_looks_like_a_model_is_none(tmp_path: Path) -> None:
    assets = {
        "pipeline.binarypb": mediapipe_graph(),
        "page.json": b'{"format": "html", "model": "none of ours"}' + b" " * 100,
        "notes.txt": b"name: layer\ntype: of cake, layer upon layer\n" * 10,
        "message.pb": b"\x08\x01\x12\x05hello\x1a\x03abc" * 4,
        "tiny.tflite": b"TFL3",
    }
    assert places(scan(android.assemble(tmp_path, assets))) == {}


def test_encrypted_and_broken_models_are_counted_as_such(tmp_path: Path, model: bytes) -> None:
    assets = {
        "noise.tflite": os.urandom(20_000),
        "cut.tflite": model[: len(model) // 2],
        "zeros.tflite": bytes(20_000),
        "vendor.mnn": b"\x10\0\0\0" + bytes(100),
    }
    found = {f.path: f.model for f in scan(android.assemble(tmp_path, assets)).findings}
    assert {path[7:]: (m.format, m.state) for path, m in found.items()} == {
        "noise.tflite": ("tflite", "encrypted"),
        "cut.tflite": ("tflite", "unreadable"),
        "zeros.tflite": ("tflite", "unreadable"),
        "vendor.mnn": ("mnn", "unreadable"),
    }
    assert all(m.reason for m in found.values())


def test_libraries_and_classes_betray_what_an_app_uses(tmp_path: Path, model: bytes) -> None:
    classes = android.dex(tmp_path, "tensorflow/lite/Interpreter", "example/App", "pytorch/executorch/Module")
    apk = android.assemble(tmp_path, {"net.tflite": model})
    android.add(apk, classes)
    with zipfile.ZipFile(apk, "a") as archive:
        archive.write("/bin/true", "lib/arm64-v8a/libsnpe-android.so")
    uses = {(use.sdk, use.how, use.evidence) for use in scan(apk).sdks}
    assert {
        ("TensorFlow Lite", "class", "org/tensorflow/lite/"),
        ("ExecuTorch", "class", "org/pytorch/executorch/"),
        ("SNPE", "library", "libsnpe-android.so"),
    } <= uses
    assert not any(sdk == "PyTorch Mobile" for sdk, _, _ in uses)


def test_a_renamed_library_is_known_by_its_symbols(tmp_path: Path) -> None:
    if shutil.which("cc") is None:
        pytest.skip("no C compiler is installed")
    source, library = tmp_path / "a.c", tmp_path / "libapp.so"
    source.write_text("void *TfLiteModelCreate(void) { return 0; }")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source], check=True)
    for method, deep, expected in (
        (zipfile.ZIP_STORED, False, [("TensorFlow Lite", "TfLiteModelCreate")]),
        (zipfile.ZIP_DEFLATED, False, []),
        (zipfile.ZIP_DEFLATED, True, [("TensorFlow Lite", "TfLiteModelCreate")]),
    ):
        path = tmp_path / "app.apk"
        with zipfile.ZipFile(path, "w", method) as archive:
            archive.write(library, "lib/arm64-v8a/libapp.so")
        assert [(use.sdk, use.evidence) for use in scan(path, deep=deep).sdks] == expected


def test_bundles_of_packages_are_one_app(tmp_path: Path, model: bytes) -> None:
    base = android.assemble(tmp_path, {"net.tflite": model}, package="org.example.split")
    pack = android.assemble(tmp_path, {"pack.tflite": network(2)}, package="org.example.split", code=2)
    for name, extra, label in (
        ("app.xapk", {"manifest.json": b'{"package_name": "org.example.split", "name": "Split"}'}, "Split"),
        ("app.apks", {"toc.pb": b"\x0a\x10org.example.spl"}, "Example"),
    ):
        path = tmp_path / name
        files = {"base.apk": base.read_bytes(), "config.assets.apk": pack.read_bytes()} | extra
        path.write_bytes(zipped(files))
        found = scan(path)
        assert (found.manifest.package, found.manifest.label) == ("org.example.split", label)
        assert places(found) == {
            "base.apk!/assets/net.tflite": "tflite",
            "config.assets.apk!/assets/pack.tflite": "tflite",
        }


def test_libraries_for_apps_have_manifests_of_text(tmp_path: Path, model: bytes) -> None:
    path = tmp_path / "library.aar"
    text = android.MANIFEST.format(package="org.example.library", code=7).encode()
    jar = zipped({"ai/onnxruntime/OrtSession.class": b"\xca\xfe\xba\xbe" + bytes(40)})
    path.write_bytes(
        zipped({"AndroidManifest.xml": text, "classes.jar": jar, "assets/net.onnx": onnx_model() + b""})
    )
    found = scan(path)
    assert (found.manifest.package, found.manifest.version_code) == ("org.example.library", 7)
    assert places(found) == {"assets/net.onnx": "onnx"}
    assert ("ONNX Runtime", "class") in {(use.sdk, use.how) for use in found.sdks}


def test_a_bundle_for_the_store_has_a_manifest_of_protobuf(tmp_path: Path, model: bytes) -> None:
    from tests.apps.frameworks import factory, message

    types = factory(
        message("Attribute", (2, "name", "string"), (3, "value", "string")),
        message("Element", (3, "name", "string"), (4, "attribute", "Attribute"), repeated=("attribute",)),
        message("Node", (1, "element", "Element")),
    )
    node = types["Node"]()
    node.element.name = "manifest"
    for name, value in (("package", "org.example.bundle"), ("versionCode", "12"), ("versionName", "2.0")):
        node.element.attribute.add(name=name, value=value)
    path = tmp_path / "app.aab"
    path.write_bytes(
        zipped(
            {
                "base/manifest/AndroidManifest.xml": node.SerializeToString(),
                "assetpack/assets/net.tflite": model,
            }
        )
    )
    found = scan(path)
    assert (found.manifest.package, found.manifest.version_code) == ("org.example.bundle", 12)
    assert places(found) == {"assetpack/assets/net.tflite": "tflite"}


def test_manifests_that_multiply_are_refused() -> None:
    bomb = '<!DOCTYPE m [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]><manifest package="&b;"/>'
    assert read_manifest(memoryview(bomb.encode()), lambda: None) is None
    deep = b"\x0a\x7f" * 1000
    assert read_manifest(memoryview(deep), lambda: None) is None
    assert read_manifest(memoryview(struct.pack("<2HL", 3, 8, 1 << 30)), lambda: None) is None


def test_an_app_behind_other_bytes_and_a_bare_model_are_read(tmp_path: Path, model: bytes) -> None:
    """Janus put a dex file before the archive; Android read on from the end."""
    apk = android.assemble(tmp_path, {"net.tflite": model})
    path = tmp_path / "janus.apk"
    path.write_bytes(b"dex\n035\0" + bytes(1000) + apk.read_bytes())
    assert places(scan(path)) == {"assets/net.tflite": "tflite"}
    bare = tmp_path / "net.tflite"
    bare.write_bytes(model + zipped({"labels.txt": b"a label for each class\n"}))
    assert places(scan(bare)) == {"net.tflite": "tflite"}


def test_large_offsets_are_read(tmp_path: Path, model: bytes) -> None:
    path = tmp_path / "app.zip"
    with zipfile.ZipFile(path, "w") as archive, archive.open("net.tflite", "w", force_zip64=True) as file:
        file.write(model)
    assert places(scan(path)) == {"net.tflite": "tflite"}


def test_the_example_in_the_documentation_runs(
    tmp_path: Path, model: bytes, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = Path(__file__).parent.parent.parent / "docs" / "apps.md"
    example = page.read_text(encoding="utf-8").split("```python\n")[1].split("```")[0]
    android.assemble(tmp_path, {"net.tflite": model}).rename(tmp_path / "app.apk")
    monkeypatch.chdir(tmp_path)
    exec(example, {})
    assert capsys.readouterr().out == "assets/net.tflite tflite read\n"
