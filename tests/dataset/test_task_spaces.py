"""Every task space gives valid networks, the same ones everywhere."""

import hashlib

import numpy as np
import pytest

from dataset.spaces import get_space, space_names
from perfsage.errors import UnknownNameError

TASKS = ("classification", "detection", "kws", "operators", "super_resolution")


def _runs(data: bytes) -> bool:
    """Whether LiteRT runs a network on ones, to finite outputs."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=data, num_threads=1)
    interpreter.allocate_tensors()
    for detail in interpreter.get_input_details():
        interpreter.set_tensor(detail["index"], np.ones(detail["shape"], detail["dtype"]))
    interpreter.invoke()
    outputs = [interpreter.get_tensor(detail["index"]) for detail in interpreter.get_output_details()]
    return all(np.isfinite(output.astype(float)).all() for output in outputs)


@pytest.mark.parametrize("space", TASKS)
@pytest.mark.parametrize("dtype", ["int8", "float32"])
def test_networks_run_in_litert(space: str, dtype: str) -> None:
    assert all(_runs(get_space(space).build(seed, dtype).data) for seed in range(6))


def test_any_operator_may_follow_one_that_unpacks() -> None:
    """What was unpacked has one dimension less than images; these seeds go on with all kinds of steps."""
    seeds = (302, 541, 614, 800, 923, 1016, 1082, 1107, 1131, 1588, 2288, 2319, 2540, 2645, 2798, 4465)
    assert all(_runs(get_space("operators").build(seed, "int8").data) for seed in seeds)


def test_a_long_shortcut_is_left_out_where_the_image_shrank() -> None:
    """Explicit padding cannot keep an image as large as it was for an even kernel."""
    assert all(_runs(get_space("super_resolution").build(seed, "int8").data) for seed in (3020, 15112))


@pytest.mark.parametrize("space", TASKS)
def test_a_seed_gives_the_same_bytes_again_and_another_seed_others(space: str) -> None:
    build = get_space(space).build
    assert build(11, "int8").data == build(11, "int8").data
    assert build(11, "int8").data != build(12, "int8").data


# Shipped labels name networks by seed: a changed digest means that they no longer belong together.
DIGESTS = {
    "classification": "0a728677a77a1558",
    "detection": "d607bee96e9465da",
    "kws": "6790fdb230382ceb",
    "operators": "cb3c5f30e043c6bb",
    "super_resolution": "cd81111564072be2",
}


@pytest.mark.parametrize("space", TASKS)
def test_networks_of_a_seed_never_change(space: str) -> None:
    digest = hashlib.sha256()
    for seed in range(20):
        for dtype in ("int8", "float32"):
            digest.update(get_space(space).build(seed, dtype).data)
    assert digest.hexdigest()[:16] == DIGESTS[space]


def test_unknown_spaces_are_named_with_those_that_exist() -> None:
    assert set(TASKS) <= set(space_names())
    with pytest.raises(UnknownNameError, match="classification"):
        get_space("nothing")
