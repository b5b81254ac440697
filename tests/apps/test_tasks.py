"""The rules that say what a model is for."""

from __future__ import annotations

import pytest

from dataset.apps.tasks import UNKNOWN, Clues, Port, guess_task

IMAGE = Port("image", "UINT8", (224, 224, 3))


def clues(
    inputs: list[Port] | None = None,
    outputs: list[tuple[int, ...]] | None = None,
    *,
    path: str = "",
    metadata: str = "",
    tensors: str = "",
    operators: tuple[str, ...] = (),
) -> Clues:
    ports = [Port("out", "FLOAT32", shape) for shape in outputs or []]
    return Clues(path, metadata, tensors, inputs or [], ports, dict.fromkeys(operators, 1))


@pytest.mark.parametrize(
    ("found", "task"),
    [
        (clues([IMAGE], [(1001,)], operators=("SOFTMAX",)), "image classification"),
        (clues([IMAGE], [(10, 4), (10,), (10,), ()]), "object detection"),
        (clues([IMAGE], [(10, 4)], operators=("TFLite_Detection_PostProcess",)), "object detection"),
        (clues([Port("", "FLOAT32", (112, 112, 3))], [(192,)], operators=("L2_NORMALIZATION",)),
         "face recognition"),
        (clues([IMAGE], [(224, 224, 21)]), "segmentation"),
        (clues([Port("", "FLOAT32", (50, 50, 3))], [(200, 200, 3)]), "super resolution"),
        (clues([IMAGE], [(224, 224, 3)], path="assets/style_transform.tflite"), "image enhancement"),
        (clues([IMAGE], [(224, 224, 3)], path="assets/style_transfer.tflite"), "style transfer"),
        (clues([Port("", "FLOAT32", (15600,))], [(521,)]), "audio classification"),
        (clues([Port("", "INT8", (49, 10, 1))], [(12,)]), "keyword spotting"),
        (clues([Port("", "INT32", (384,))] * 3, [(384,), (384,)], operators=("GATHER",)),
         "question answering"),
        (clues([Port("", "INT32", (256,))], [(2,)], operators=("GATHER",)), "text classification"),
        (clues(path="assets/mlkit_pose/poseLandmark-v2.tflite"), "pose estimation"),
        (clues(metadata="Detects faces: BlazeFace short range"), "face detection"),
        (clues(), UNKNOWN),
        (clues([Port("", "FLOAT32", (7,))], [(3,)]), UNKNOWN),
        (clues(tensors="conv1 relu1 fc_sound"), UNKNOWN),
        (clues(path="assets/posenet_mobilenet_v1.tflite", tensors="MobilenetV1/Conv2d"), "pose estimation"),
        (clues([Port("", "INT8", (98, 104, 1))], [(3,)], path="assets/keyword_spotting_mobilenetv2.tflite",
               tensors="mobilenetv2_1", operators=("SOFTMAX",)), "keyword spotting"),
        (clues([Port("", "INT8", (59, 49, 1))], [(3,)], path="audio_example1.tflite", operators=("SOFTMAX",)),
         "audio classification"),
        (clues(path="audio_preprocessor_int8.tflite"), UNKNOWN),
    ],
)  # fmt: skip
def test_rules(found: Clues, task: str) -> None:
    guess = guess_task(found)
    assert guess.name == task
    assert (0.5 <= guess.confidence <= 1) == (task != UNKNOWN)
    assert bool(guess.evidence) or task == UNKNOWN


def test_evidence_of_several_kinds_adds_up() -> None:
    shape = guess_task(clues([IMAGE], [(1000,)]))
    both = guess_task(clues([IMAGE], [(1000,)], path="mobilenet_v2.tflite"))
    assert shape.name == both.name == "image classification"
    assert both.confidence == pytest.approx(1 - (1 - shape.confidence) * 0.5)
    assert len(both.evidence) == 2
