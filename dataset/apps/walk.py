"""Go through one archive, and archives inside it, and keep what bears on machine learning."""

from __future__ import annotations

import hashlib
import math
import re
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dataset.apps import dex, elf
from dataset.apps.formats import Format, promised_by, recognize, recognize_container
from dataset.apps.inflate import FAILURES, HEAD_BYTES, RAW_DEFLATE, compression_of, inflate, inflate_head
from dataset.apps.keeping import keep_model
from dataset.apps.limits import MIB, Budget, Refused
from dataset.apps.manifest import Manifest, read_manifest, read_xapk
from dataset.apps.records import ENCRYPTED, READ, RECOGNIZED, UNREADABLE, Finding, ModelFile, TfliteFacts
from dataset.apps.sdks import SdkTable, SdkUse
from dataset.apps.tarfiles import ar_members, is_ar, is_tar, tar_members
from dataset.apps.tflite_facts import read_facts
from dataset.apps.zipfiles import DEFLATED, STORED, ZipEntry, ends_as_zip, is_zip, packed, read_entries
from perfsage.errors import InvalidModelError

_NOISE_BITS: Final = 7.9
"""Entropy per byte from which content looks encrypted; weights and headers of models have less."""
_NOISE_SAMPLE_BYTES: Final = 1 << 16
_MIN_NOISE_BYTES: Final = 4096
_MIN_MODEL_BYTES: Final = 16
_REMEMBERED: Final = 128
_MAX_USES: Final = 1000
_MAX_PATH: Final = 1024
_MAX_JOINED_BYTES: Final = 512 * MIB
_PART = re.compile(
    r"^(?P<stem>.+?)(?P<mark>[._-]?(?:part|chunk|split)?[._-]?)(?P<number>\d{1,4})$", re.IGNORECASE
)
_MANIFESTS = ("AndroidManifest.xml", "base/manifest/AndroidManifest.xml")
_FRAMEWORKS = {"onnx": "ONNX", "ort": "ONNX Runtime", "tflite": "TensorFlow Lite", "qnn-context": "SNPE/QNN"}
_SPLIT_APK = re.compile(r"(?:^|/)(?:config\.|split_config\.|split_)[^/]*\.apk$")


@dataclass(frozen=True, slots=True)
class Content:
    """Something in an archive: its name there, the path to it, its first bytes, and how to have all of it."""

    name: str
    path: str
    head: bytes
    bytes: int
    load: Callable[[], memoryview]
    stored: bool = True


class Walk:
    """One pass over an archive; what it found stays readable when it is given up."""

    def __init__(
        self, budget: Budget, sdks: SdkTable, *, deep: bool = False, keep: Path | None = None
    ) -> None:
        self.findings: list[Finding] = []
        self.uses: set[SdkUse] = set()
        self.manifests: list[tuple[int, str, Manifest]] = []
        self._budget, self._sdks, self._deep, self._folder = budget, sdks, deep, keep

    def visit(self, content: Content, depth: int = 0) -> None:
        """Look at one piece of content, and into it where it is an archive or compressed."""
        if content.bytes < _MIN_MODEL_BYTES:
            return
        try:
            if not self._open(content, depth):
                self._inspect(content, depth)
        except FAILURES:
            self._budget.problems["damaged entries"] += 1
            self._promised(content, "its compressed data are damaged")

    def _open(self, content: Content, depth: int) -> bool:
        """Go into an archive or a compressed stream; False when the content is neither."""
        head = content.head
        stream = compression_of(head)
        if not (stream or is_zip(head) or is_tar(head) or is_ar(head)):
            if depth or recognize(head, content.bytes, content.name) or not ends_as_zip(content.load()):
                return False
            self._open_zip(content, depth)  # as Android does: something may stand before an app's archive
            return True
        if depth >= self._budget.limits.depth:
            self._budget.problems["archives nested too deeply"] += 1
        elif stream:
            self._open_stream(content, stream, depth)
        elif is_zip(head):
            self._open_zip(content, depth)
        else:
            members = tar_members if is_tar(head) else ar_members
            for name, data in members(content.load(), self._budget):
                self.visit(_slice(name, _join(content.path, name), data), depth + 1)
        return True

    def _open_stream(self, content: Content, stream: str, depth: int) -> None:
        data = inflate(stream, content.load(), self._budget)
        name = re.sub(r"\.(?:gz|xz|bz2)$", "", content.name)
        self.visit(_slice(name, content.path, data), depth + 1)

    def _open_zip(self, content: Content, depth: int) -> None:
        data = content.load()
        try:
            entries = read_entries(data, self._budget)
        except Refused as refusal:
            if depth == 0 or self._budget.spent:
                raise
            self._budget.problems[f"nested archives refused: {refusal.reason}"] += 1
            return
        if found := recognize_container(entry.name for entry in entries):
            self._add(content, found)
            return
        broken = []
        for entry in entries:
            before = len(self.findings)
            self._visit_entry(data, entry, content.path, depth)
            if len(self.findings) > before and self.findings[-1].model.state == UNREADABLE:
                broken.append((entry, before))
        self._read_manifest(data, entries, content.path, depth)
        if broken:
            numbered = _numbered(entries)
            for entry, index in reversed(broken):
                self._mend(data, _parts(numbered, entry), entry, index)

    def _visit_entry(self, data: memoryview, entry: ZipEntry, path: str, depth: int) -> None:
        self._note_oddities(entry)
        if entry.link or entry.name.endswith("/"):
            return
        self._use(self._sdks.by_name(entry.name))
        raw = packed(data, entry)
        if raw is None:
            self._budget.problems["entries with broken headers"] += 1
        elif entry.method in (STORED, DEFLATED):
            content = self._content(entry, raw, path)
            if entry.encrypted and not recognize(content.head, content.bytes, entry.name):
                self._budget.problems["encrypted entries"] += 1
                self._promised(_slice(entry.name, content.path, raw), "its entry is encrypted", ENCRYPTED)
            else:
                self.visit(content, depth + 1)
        else:
            self._budget.problems["entries whose compression is not supported"] += 1
            self._promised(
                _slice(entry.name, _join(path, entry.name), raw), "its compression is not supported"
            )

    def _content(self, entry: ZipEntry, raw: memoryview, path: str) -> Content:
        place = _join(path, entry.name)
        if entry.method == STORED:
            return _slice(entry.name, place, raw)
        head = inflate_head(RAW_DEFLATE, raw)
        size = max(entry.bytes, len(head))
        return Content(
            entry.name, place, head, size, lambda: inflate(RAW_DEFLATE, raw, self._budget), stored=False
        )

    def _use(self, uses: Iterable[SdkUse]) -> None:
        if len(self.uses) < _MAX_USES:
            self.uses.update(uses)

    def _note_oddities(self, entry: ZipEntry) -> None:
        if entry.link:
            self._budget.problems["links"] += 1
        if entry.name.startswith(("/", "\\")) or ".." in re.split(r"[/\\]", entry.name):
            self._budget.problems["names that lead out of the archive"] += 1

    def _read_manifest(self, data: memoryview, entries: list[ZipEntry], path: str, depth: int) -> None:
        """Keep who the app is, from this archive's own manifest."""
        by_name = {entry.name: entry for entry in reversed(entries)}

        def load(name: str) -> memoryview | None:
            entry = by_name.get(name)
            raw = packed(data, entry) if entry is not None else None
            return None if entry is None or raw is None else self._content(entry, raw, path).load()

        try:
            for name in _MANIFESTS:
                found = load(name)
                manifest = read_manifest(found, lambda: load("resources.arsc")) if found else None
                if manifest is not None:
                    self.manifests.append((depth + 10 * bool(_SPLIT_APK.search(path)), path, manifest))
                    self._use(self._sdks.by_features(manifest.features))
            outer = load("manifest.json")
            if outer is not None and (manifest := read_xapk(outer)):
                self.manifests.append((depth, path, manifest))
        except FAILURES:
            self._budget.problems["damaged manifests"] += 1

    def _inspect(self, content: Content, depth: int) -> None:
        head = content.head
        if head.startswith(dex.MAGIC):
            self._use(self._sdks.by_dex(content.load()))
        elif head.startswith(elf.MAGIC):
            if content.stored or self._deep:
                self._use(self._sdks.by_symbols(content.load()))
        elif found := recognize(head, content.bytes, content.name):
            self._add(content, found)
        else:
            self._promised(content, "nothing is known to begin like it")

    def _add(self, content: Content, found: Format) -> None:
        data = content.load()
        model_id = hashlib.sha256(data).hexdigest()
        path = content.path or content.name
        facts, reason = _facts(model_id, data, path) if found.name == "tflite" else (None, None)
        state = READ if facts else UNREADABLE if reason else RECOGNIZED
        self._keep(path, data, found, state, reason, facts, model_id)

    def _promised(self, content: Content, reason: str, state: str = UNREADABLE) -> None:
        """Keep something whose name promises a model and whose content is none."""
        name = promised_by(content.name)
        if name is None:
            return
        try:
            data = content.load()
        except FAILURES:
            data = memoryview(content.head)
        if state == UNREADABLE and _is_noise(data):
            state, reason = ENCRYPTED, "its content looks like noise: encrypted, or compressed in another way"
        framework = _FRAMEWORKS.get(name, name)
        self._keep(
            content.path or content.name, data, Format(name, framework, "its name alone"), state, reason, None
        )

    def _keep(
        self,
        path: str,
        data: memoryview,
        found: Format,
        state: str,
        reason: str | None,
        facts: TfliteFacts | None,
        model_id: str | None = None,
    ) -> None:
        model = ModelFile(
            model_id=model_id or hashlib.sha256(data).hexdigest(),
            format=found.name,
            framework=found.framework,
            state=state,
            evidence=found.evidence,
            bytes=len(data),
            reason=reason,
            tflite=facts,
        )
        if facts is not None and self._folder is not None:
            keep_model(self._folder, model.model_id, facts, data)
        self.findings.append(Finding(path[-_MAX_PATH:], model))
        self._budget.finding()

    def _mend(self, data: memoryview, parts: list[ZipEntry], first: ZipEntry, index: int) -> None:
        """Replace a model that is cut off by that of all its parts, where numbered files go on with it."""
        if len(parts) < 2 or sum(part.bytes for part in parts) > _MAX_JOINED_BYTES:
            return
        raws = [packed(data, part) for part in parts]
        try:
            loaded = [
                self._content(part, raw, "").load()
                for part, raw in zip(parts, raws, strict=True)
                if raw is not None
            ]
        except FAILURES:
            return
        whole = memoryview(b"".join(loaded))
        found = recognize(bytes(whole[:HEAD_BYTES]), len(whole), first.name)
        path = self.findings[index].path
        model_id = hashlib.sha256(whole).hexdigest()
        facts, _ = _facts(model_id, whole, path) if found else (None, None)
        if found and facts:
            del self.findings[index]
            evidence = Format(found.name, found.framework, f"{found.evidence}, in {len(parts)} parts")
            self._keep(path, whole, evidence, READ, None, facts, model_id)


_recent: OrderedDict[str, TfliteFacts] = OrderedDict()
"""Facts of the models met last: popular models are in many apps, and the dataset keeps the first facts."""


def _facts(model_id: str, data: memoryview, path: str) -> tuple[TfliteFacts | None, str | None]:
    if model_id not in _recent:
        try:
            _recent[model_id] = read_facts(data, path)
        except InvalidModelError as error:
            return None, str(error)[:512]
    _recent.move_to_end(model_id)
    if len(_recent) > _REMEMBERED:
        _recent.popitem(last=False)
    return _recent[model_id], None


def _slice(name: str, path: str, data: memoryview) -> Content:
    return Content(name, path, bytes(data[:HEAD_BYTES]), len(data), lambda: data)


def _join(outer: str, name: str) -> str:
    return f"{outer}!/{name}" if outer else name


_Numbered = dict[tuple[str, str], dict[int, ZipEntry]]


def _numbered(entries: Iterable[ZipEntry]) -> _Numbered:
    """Return the entries whose names end in numbers, by what stands before and by number."""
    found: _Numbered = {}
    for entry in entries:
        if match := _PART.match(entry.name):
            found.setdefault((match["stem"], match["mark"]), {})[int(match["number"])] = entry
    return found


def _parts(numbered: _Numbered, first: ZipEntry) -> list[ZipEntry]:
    """Return the files that continue `first`, which must be number 0 or 1, up to the first gap."""
    match = _PART.match(first.name)
    if match is None or int(match["number"]) > 1:
        return []
    family, number, parts = numbered[match["stem"], match["mark"]], int(match["number"]), []
    while number in family:
        parts.append(family[number])
        number += 1
    return parts


def _is_noise(data: memoryview) -> bool:
    sample = bytes(data[:_NOISE_SAMPLE_BYTES])
    if len(sample) < _MIN_NOISE_BYTES:
        return False
    shares = (count / len(sample) for count in Counter(sample).values())
    return -sum(share * math.log2(share) for share in shares) >= _NOISE_BITS
