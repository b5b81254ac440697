"""What a model is for: a documented set of rules over names, metadata, shapes and operators.

Each rule that holds adds its weight to one task; weights add up as independent evidence does,
1 - (1 - w1)(1 - w2)... The task with the most is taken, and none below THRESHOLD. docs/apps.md lists the
rules.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

THRESHOLD: Final = 0.5
UNKNOWN: Final = "unknown"
_WEIGHTS: Final = {"metadata": 0.85, "path": 0.8, "tensor names": 0.4}
_BACKBONE_WEIGHTS: Final = {"metadata": 0.5, "path": 0.5, "tensor names": 0.15}


@dataclass(frozen=True, slots=True)
class Task:
    """A task, how sure the rules are (0 to 1), and which of them held."""

    name: str
    confidence: float
    evidence: tuple[str, ...]


class Port(NamedTuple):
    """An input or output as the rules see it; a batch of 1 is left out of the shape."""

    name: str
    type: str
    shape: tuple[int, ...]


class Clues(NamedTuple):
    """Everything that the rules look at."""

    path: str
    metadata: str
    tensors: str
    inputs: Sequence[Port]
    outputs: Sequence[Port]
    operators: Mapping[str, int]


_WORDS: Final = {
    "object detection": r"object.?det|ssd|yolo|detection|efficientdet|nanodet|blazedet",
    "face detection": r"face.?det|blaze.?face|retinaface|mtcnn|face.?short|face.?full|scrfd",
    "face recognition": r"face.?net|face.?rec|arcface|face.?embed|mobile.?facenet|sphereface",
    "face landmarks": r"face.?(?:land)?mark|face.?mesh|landmark.?face|iris|attention.?mesh",
    "hand tracking": r"\bhand|palm|gesture",
    "pose estimation": r"pose|movenet|posenet|blazepose|keypoint|skeleton",
    "segmentation": r"segment|deeplab|body.?pix|selfie|matting|hair.?seg|u.?net\b|portrait|background",
    "image classification": r"(?:image|object|plant|food|bird).?classif|imagenet|mnist",
    "text recognition": r"\bocr|text.?rec|crnn|keras.?ocr|handwriting|text.?det|\beast\b",
    "barcode": r"barcode|qr.?code|barhopper",
    "super resolution": r"super.?res|esrgan|upscale|\bsr\b|fsrcnn|espcn",
    "style transfer": r"style.?(?:transfer|predict)|stylize|cartoon|\banime",
    "depth estimation": r"depth|midas",
    "image enhancement": r"denois|enhanc|low.?light|deblur|inpaint|hdr",
    "speech recognition": r"speech|\basr\b|whisper|wav2|deepspeech|conformer",
    "keyword spotting": r"keyword|\bkws\b|hotword|wake.?word|speech.?command|micro.?speech",
    "speech enhancement": r"noise.?supp|speech.?enhanc|rnnoise|dtln|voice.?isol",
    "speech synthesis": r"\btts\b|tacotron|vocoder|melgan|fastspeech|hifigan",
    "audio classification": r"yamnet|\baudio\b(?!.?(?:pre|feature|front))|sound|\bvad\b|voice.?activity|bird",
    "text classification": r"text.?class|sentiment|toxic|spam|nl.?class|language.?id|langid",
    "question answering": r"\bqa\b|squad|question",
    "translation": r"translat|\bnmt\b|seq2seq",
    "text generation": r"\bllm\b|gemma|gpt|llama|autocomplete|next.?word|smart.?reply|\bphi\b",
    "text embedding": r"sentence.?enc|text.?embed|bert|use.?qa",
    "recommendation": r"recommend|\bctr\b|ranking|rerank",
    "activity recognition": r"activity|accelero|\bimu\b|\bhar\b|fall.?det|magic.?wand",
    "anomaly detection": r"anomaly|auto.?encoder",
}
_BACKBONES = re.compile(r"mobilenet|efficientnet|inception|resnet|squeezenet|mnasnet|classif")
"""Names that most often mean a classifier, and are parts of networks for other tasks as well."""
_PATTERNS = {task: re.compile(words) for task, words in _WORDS.items()}


def guess_task(clues: Clues) -> Task:
    """Return the most likely task, `unknown` where no evidence is strong enough."""
    doubts: dict[str, float] = {}
    evidence: dict[str, list[str]] = {}
    for task, weight, reason in (*_by_words(clues), *_by_shape(clues)):
        doubts[task] = doubts.get(task, 1.0) * (1.0 - weight)
        evidence.setdefault(task, []).append(reason)
    if not doubts:
        return Task(UNKNOWN, 0.0, ())
    best = min(sorted(doubts), key=doubts.__getitem__)
    confidence = round(1.0 - doubts[best], 3)
    if confidence < THRESHOLD:
        return Task(UNKNOWN, 0.0, tuple(evidence[best]))
    return Task(best, confidence, tuple(evidence[best]))


Evidence = tuple[str, float, str]


def _by_words(clues: Clues) -> Iterator[Evidence]:
    texts = {"metadata": clues.metadata, "path": clues.path, "tensor names": clues.tensors}
    for where, text in texts.items():
        spaced = re.sub(r"(?<=[a-z])(?=[A-Z])|[_\W]+", " ", text).lower()
        for task, pattern in _PATTERNS.items():
            if match := pattern.search(spaced):
                yield task, _WEIGHTS[where], f"{where} have {match.group()!r}"
        if match := _BACKBONES.search(spaced):
            yield "image classification", _BACKBONE_WEIGHTS[where], f"{where} have {match.group()!r}"


def _by_shape(clues: Clues) -> Iterator[Evidence]:
    for rule in _RULES:
        yield from rule(clues)


def _detection(clues: Clues) -> Iterator[Evidence]:
    if "TFLite_Detection_PostProcess" in clues.operators:
        yield "object detection", 0.9, "operator TFLite_Detection_PostProcess"
    boxes = any(len(p.shape) == 2 and p.shape[1] == 4 and p.shape[0] > 1 for p in clues.outputs)
    if boxes and len(clues.outputs) in (2, 3, 4) and _image_inputs(clues):
        yield "object detection", 0.6, "an output of boxes [n, 4] beside scores"


def _classification(clues: Clues) -> Iterator[Evidence]:
    if not _image_inputs(clues) or len(clues.outputs) != 1:
        return
    output = clues.outputs[0].shape
    if len(output) == 1 and output[0] >= 2 and "L2_NORMALIZATION" not in clues.operators:
        softmax = "SOFTMAX" in clues.operators or "LOGISTIC" in clues.operators
        known = output[0] in (1000, 1001)
        # What has one channel may be a spectrogram.
        doubt = 0.15 if all(port.shape[2] == 1 for port in _image_inputs(clues)) else 0.0
        weight = 0.8 if known else (0.65 if softmax else 0.5) - doubt
        yield "image classification", weight, f"image in, {output[0]} scores out"
    elif len(output) == 1 and "L2_NORMALIZATION" in clues.operators:
        yield "face recognition", 0.5, f"image in, normalized vector of {output[0]} out"


def _pictures(clues: Clues) -> Iterator[Evidence]:
    images = _image_inputs(clues)
    if not images or len(clues.outputs) != 1 or len(clues.outputs[0].shape) not in (2, 3):
        return
    (height, width), output = images[0].shape[:2], clues.outputs[0].shape
    channels = output[2] if len(output) == 3 else 1
    if output[0] > height and output[0] % height == 0 and output[1] % width == 0 and channels in (1, 3):
        yield "super resolution", 0.75, "a larger picture out than in"
    elif output[:2] == (height, width) and channels == 3:
        yield "image enhancement", 0.5, "a picture of the same size out as in"
    elif _is_map(output, height, width) and channels != 3:
        yield "segmentation", 0.6, "a map of the picture's shape out"


def _is_map(output: tuple[int, ...], height: int, width: int) -> bool:
    """Return whether an output has a picture's proportions, at an eighth of its size at least."""
    return height >= 32 and height / 8 <= output[0] <= height and output[0] * width == output[1] * height


def _sound(clues: Clues) -> Iterator[Evidence]:
    if len(clues.outputs) != 1 or len(clues.outputs[0].shape) != 1:
        return
    for port in clues.inputs:
        long = len(port.shape) == 1 and port.shape[0] >= 4000 and port.type in ("FLOAT32", "INT16", "INT8")
        if long:
            yield "audio classification", 0.6, f"{port.shape[0]} samples of sound in, scores out"
        elif port.shape[:2] in ((49, 10), (98, 40), (49, 40), (61, 13)) or port.shape in ((1960,), (490,)):
            yield "keyword spotting", 0.6, "a second of spectrum in, scores out"


def _text(clues: Clues) -> Iterator[Evidence]:
    if any(port.type == "STRING" for port in clues.inputs):
        yield "text classification", 0.5, "text in"
    tokens = [
        p for p in clues.inputs if p.type in ("INT32", "INT64") and len(p.shape) == 1 and p.shape[0] >= 8
    ]
    if tokens and {"GATHER", "EMBEDDING_LOOKUP"} & clues.operators.keys():
        if len(clues.outputs) == 2 and all(p.shape == tokens[0].shape for p in clues.outputs):
            yield "question answering", 0.75, "tokens in, two scores a token out"
        elif (
            len(clues.outputs) == 1 and len(clues.outputs[0].shape) == 1 and clues.outputs[0].shape[0] <= 100
        ):
            yield "text classification", 0.65, "tokens in, scores out"


def _image_inputs(clues: Clues) -> list[Port]:
    return [
        port
        for port in clues.inputs
        if len(port.shape) == 3 and port.shape[2] in (1, 3, 4) and min(port.shape[:2]) >= 16
    ]


_RULES: tuple[Callable[[Clues], Iterator[Evidence]], ...] = (
    _detection,
    _classification,
    _pictures,
    _sound,
    _text,
)
