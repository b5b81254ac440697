"""Archives that want to break the scanner: nothing crashes, fills memory or takes long; all is counted."""

from __future__ import annotations

import gzip
import io
import os
import random
import resource
import stat
import struct
import sys
import tarfile
import time
import zipfile
import zlib
from pathlib import Path

import flatbuffers
import pytest

from dataset.apps.limits import MIB, Limits
from perfsage.errors import InvalidInputError
from tests.apps import android
from tests.apps.conftest import network, places, scan
from tests.apps.frameworks import zipped

SMALL = Limits(total_bytes=64 * MIB, free_bytes=16 * MIB, ratio=4, entries=70_000, depth=4, cpu_s=30)


def zeros(size: int) -> bytes:
    """`size` zeros as a raw deflate stream, a thousandth of that."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return b"".join([*(packer.compress(bytes(MIB)) for _ in range(size // MIB)), packer.flush()])


def bomb(path: Path, *, claimed: int, size: int = 512 * MIB, name: str = "assets/net.tflite") -> Path:
    """An archive whose only entry is zeros behind a model's beginning, with the size that it claims."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    head = packer.compress(b"\x1c\0\0\0TFL3") + packer.flush(zlib.Z_FULL_FLUSH)
    data = head + zeros(size)
    local = struct.pack("<4s5H3L2H", b"PK\x03\x04", 20, 0, 8, 0, 0, 0, len(data), claimed, len(name), 0)
    central = struct.pack("<4s6H3L5H2L", b"PK\x01\x02", 20, 20, 0, 8, 0, 0, 0, len(data), claimed, len(name),
                          0, 0, 0, 0, 0, 0)  # fmt: skip
    body = local + name.encode() + data
    directory = central + name.encode()
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 1, 1, len(directory), len(body), 0)
    path.write_bytes(body + directory + end)
    return path


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


@pytest.mark.parametrize("claimed", [100, 512 * MIB])
def test_a_bomb_is_given_up_before_it_is_unpacked(tmp_path: Path, claimed: int) -> None:
    path, before = bomb(tmp_path / "bomb.apk", claimed=claimed), peak_mib()
    found = scan(path, SMALL)
    assert found.status == "refused" and "bomb" in str(found.reason)
    assert peak_mib() - before < 64


def test_what_was_found_before_a_bomb_stays(tmp_path: Path, model: bytes) -> None:
    path = tmp_path / "app.apk"
    inner = bomb(tmp_path / "bomb.zip", claimed=100).read_bytes()
    path.write_bytes(zipped({"assets/net.tflite": model, "assets/x.zip": inner}))
    found = scan(path, SMALL)
    assert (found.status, places(found)) == ("partial", {"assets/net.tflite": "tflite"})


def test_nested_bombs_share_one_budget(tmp_path: Path) -> None:
    data = gzip.compress(b"\x1c\0\0\0TFL3" + bytes(6 * MIB))
    layer = zipped({f"{i}.bin": data for i in range(8)})
    for _ in range(2):
        layer = zipped({f"{i}.zip": layer for i in range(8)})
    path = tmp_path / "nested.apk"
    path.write_bytes(layer)
    started = time.process_time()
    found = scan(path, SMALL)
    assert "bomb" in str(found.reason)
    assert time.process_time() - started < 10


def test_an_archive_that_contains_itself_ends(tmp_path: Path) -> None:
    layer = zipped({"end.txt": b"end" * 20})
    for _ in range(10):
        layer = zipped({"again.zip": layer})
    (tmp_path / "deep.apk").write_bytes(layer)
    found = scan(tmp_path / "deep.apk")
    assert found.problems == {"archives nested too deeply": 1}


def test_overlapping_entries_are_read_once(tmp_path: Path, model: bytes) -> None:
    """As in Fifield's bomb of 2019: many directory lines, all of the same bytes."""
    whole = zipped({"assets/net.tflite": model})
    at = whole.index(b"PK\x01\x02")
    end = whole.index(b"PK\x05\x06")
    line = whole[at:end]
    lines = b"".join(line.replace(b"net", b"%03d" % i) for i in range(500))
    tail = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 500, 500, len(lines), at, 0)
    (tmp_path / "x.apk").write_bytes(whole[:at] + lines + tail)
    found = scan(tmp_path / "x.apk")
    assert len(found.findings) == 1
    assert found.problems == {"overlapping entries": 499}


def test_65535_entries_are_counted_quickly(tmp_path: Path, model: bytes) -> None:
    path = tmp_path / "many.apk"
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(65_534):
            archive.writestr(f"{number}", b"0123456789abcdef")
        archive.writestr("net.tflite", model)
    started = time.process_time()
    found = scan(path)
    assert time.process_time() - started < 10
    assert (found.entries, found.status, places(found)) == (65_535, "complete", {"net.tflite": "tflite"})
    few = scan(path, Limits(entries=1000))
    assert (few.status, few.reason) == ("refused", "it has more than 1000 entries")


def test_names_that_lead_elsewhere_are_only_names(tmp_path: Path, model: bytes) -> None:
    path = tmp_path / "app.apk"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("../../../../tmp/perfsage-traversal.tflite", model)
        archive.writestr("/etc/perfsage-traversal.tflite", network(2))
        link = zipfile.ZipInfo("assets/link.tflite")
        link.create_system, link.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
    found = scan(path)
    assert len(found.findings) == 2
    assert found.problems == {"links": 1, "names that lead out of the archive": 2}
    assert not Path("/tmp/perfsage-traversal.tflite").exists()


def test_links_in_tar_archives_are_left_alone(tmp_path: Path, model: bytes) -> None:
    path = tmp_path / "package.tgz"
    with tarfile.open(path, "w:gz") as archive:
        link = tarfile.TarInfo("package/link.tflite")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
        for name in ("package/net.tflite", "package/" + "long/" * 40 + "net.tflite"):
            entry = tarfile.TarInfo(name)
            entry.size = len(model)
            archive.addfile(entry, io.BytesIO(model))
    found = scan(path)
    assert found.problems == {"links": 1}
    assert sorted(places(found)) == sorted(("package/" + "long/" * 40 + "net.tflite", "package/net.tflite"))


def test_encrypted_entries_are_counted(tmp_path: Path, model: bytes) -> None:
    """Android ignores the flag, and some packers set it on entries that are not encrypted at all."""
    path = tmp_path / "app.apk"
    whole = bytearray(zipped({"net.tflite": model, "secret.tflite": os.urandom(9000)}))
    for magic, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = whole.find(magic)
        while at >= 0:
            whole[at + offset] |= 1
            at = whole.find(magic, at + 4)
    path.write_bytes(whole)
    found = scan(path)
    assert {f.path: f.model.state for f in found.findings} == {
        "net.tflite": "read",
        "secret.tflite": "encrypted",
    }
    assert found.problems == {"encrypted entries": 1}


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", None),
        (b"PK\x03\x04" + bytes(200), "it has no central directory"),
        (b"PK\x03\x04" + bytes(40) + b"PK\x05\x06" + b"\xff" * 18, "its central directory lies outside"),
        (b"not an archive at all, just a file that somebody named so", None),
    ],
)
def test_broken_archives_say_why(tmp_path: Path, data: bytes, reason: str | None) -> None:
    path = tmp_path / "app.apk"
    path.write_bytes(data)
    found = scan(path)
    assert found.findings == ()
    assert (found.status == "refused") == (reason is not None)
    assert reason is None or str(found.reason).startswith(reason)


def test_damage_anywhere_never_raises(tmp_path: Path) -> None:
    files = {
        "AndroidManifest.xml": struct.pack("<2HL", 3, 8, 64) + bytes(56),
        "classes.dex": b"dex\n035\0" + bytes(200),
        "lib/arm64-v8a/liba.so": Path(sys.executable).resolve().read_bytes()[:20_000],
        "assets/net.tflite": network(1),
        "assets/inner.zip": zipped({"a.pt/data.pkl": b"\x80\x02}.", "x": bytes(50)}),
    }
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    whole, random_numbers = made.getvalue(), random.Random(7)
    path = tmp_path / "app.apk"
    for _ in range(150):
        damaged = bytearray(whole)
        for _ in range(random_numbers.randint(1, 12)):
            damaged[random_numbers.randrange(len(damaged))] = random_numbers.randrange(256)
        end = random_numbers.choice((len(damaged), random_numbers.randrange(len(damaged))))
        path.write_bytes(damaged[:end])
        scan(path, SMALL)


def test_compressed_data_that_end_early_are_reported(tmp_path: Path, model: bytes) -> None:
    path = tmp_path / "app.apk"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("assets/one.tflite", model)
        archive.writestr("assets/two.tflite", network(2))
    whole = bytearray(path.read_bytes())
    at = whole.find(b"PK\x01\x02")
    (packed,) = struct.unpack_from("<L", whole, at + 20)
    struct.pack_into("<L", whole, at + 20, packed // 2)
    path.write_bytes(whole)
    found = scan(path)
    assert {f.path: f.model.state for f in found.findings} == {
        "assets/one.tflite": "unreadable",
        "assets/two.tflite": "read",
    }
    assert found.problems == {"damaged entries": 1}


def test_damaged_manifests_never_raise(tmp_path: Path) -> None:
    """What aapt wrote, with bytes changed: who the app is may be wrong or unknown, nothing else."""
    apk = android.assemble(tmp_path, {}, label="Example")
    with zipfile.ZipFile(apk) as archive:
        manifest, table = (archive.read(name) for name in ("AndroidManifest.xml", "resources.arsc"))
    numbers, labels = random.Random(3), set()
    for _ in range(300):
        damaged = [bytearray(data) for data in (manifest, table)]
        for data in damaged:
            for _ in range(numbers.randint(0, 3)):
                data[numbers.randrange(len(data))] = numbers.choice(
                    (0, 1, 0x7F, 0xFF, numbers.randrange(256))
                )
        path = tmp_path / "damaged.apk"
        path.write_bytes(
            zipped({"AndroidManifest.xml": bytes(damaged[0]), "resources.arsc": bytes(damaged[1])})
        )
        labels.add(scan(path, SMALL).manifest.label)
    assert "Example" in labels


def test_strings_that_a_manifest_shares_do_not_multiply(tmp_path: Path) -> None:
    """A pool of 250,000 strings that are all the same 32,000 letters, and elements that use all of them."""
    count, text = 250_000, b"a" * 32_000
    body = struct.pack("<H", len(text) // 2) + text
    offsets = bytes(4 * count)
    pool = struct.pack("<2H6L", 1, 28, 28 + len(offsets) + len(body), count, 0, 0, 28 + len(offsets), 0)
    attribute = struct.pack("<3LH2BL", 0, 0, 0, 8, 0, 3, 0)
    element = struct.pack("<2H3L", 0x102, 16, 36 + 20 * 200, 0, 0) + struct.pack(
        "<2L6H", 0, 0, 20, 20, 200, 0, 0, 0
    )
    chunks = pool + offsets + body + (element + attribute * 200) * 1000
    manifest = struct.pack("<2HL", 3, 8, 8 + len(chunks)) + chunks
    path, before = tmp_path / "a.apk", peak_mib()
    path.write_bytes(zipped({"AndroidManifest.xml": manifest}))
    assert scan(path).manifest.package is None
    assert peak_mib() - before < 64


def test_too_many_models_are_given_up(tmp_path: Path) -> None:
    path = tmp_path / "a.apk"
    path.write_bytes(zipped({f"{i}.tflite": b"no model at all.." for i in range(50)}))
    found = scan(path, Limits(models=20))
    assert (found.status, found.reason, len(found.findings)) == ("partial", "it has more than 20 models", 21)


def test_a_pipe_is_no_archive(tmp_path: Path) -> None:
    pipe = tmp_path / "app.apk"
    os.mkfifo(pipe)
    both_ends = os.open(pipe, os.O_RDWR | os.O_NONBLOCK)  # so that nobody who opens it waits
    try:
        with pytest.raises(InvalidInputError, match="no regular file"):
            scan(pipe)
    finally:
        os.close(both_ends)


def test_buffers_that_are_the_same_bytes_are_not_hashed_again_and_again(tmp_path: Path) -> None:
    """2,000 buffers that all point to the same 256 KiB would be 500 MiB of weights in a file of 400 KiB."""
    path = tmp_path / "app.apk"
    path.write_bytes(zipped({"net.tflite": overlapping_model(2000, 256 << 10)}))
    [finding] = scan(path).findings
    assert finding.model.tflite is not None
    assert 1 <= len(finding.model.tflite.layers) <= 2


def overlapping_model(number: int, size: int) -> bytes:
    """A model of constants alone, whose buffers are one vector of bytes."""
    b = flatbuffers.Builder(size + 64 * number)
    data = b.CreateByteVector(bytes(range(256)) * (size // 256))
    b.StartVector(4, 1, 4)
    b.PrependInt32(size)
    shape = b.EndVector()

    def table(slots: int, offsets: dict[int, int], numbers: dict[int, int] | None = None) -> int:
        b.StartObject(slots)
        for slot, offset in offsets.items():
            b.PrependUOffsetTRelativeSlot(slot, offset, 0)
        for slot, value in (numbers or {}).items():
            b.PrependUint32Slot(slot, value, 0)
        return int(b.EndObject())

    def vector(items: list[int]) -> int:
        b.StartVector(4, len(items), 4)
        for item in reversed(items):
            b.PrependUOffsetTRelative(item)
        return int(b.EndVector())

    buffers = vector([table(1, {0: data}) for _ in range(number)])
    tensors = []
    for index in range(number):
        b.StartObject(8)
        b.PrependUOffsetTRelativeSlot(0, shape, 0)
        b.PrependInt8Slot(1, 9, 0)  # INT8
        b.PrependUint32Slot(2, index, 0)
        tensors.append(int(b.EndObject()))
    subgraphs = vector([table(5, {0: vector(tensors)})])
    b.Finish(table(8, {2: subgraphs, 4: buffers}, {0: 3}), b"TFL3")
    return bytes(b.Output())
