"""Every task space gives valid networks, the same ones everywhere."""

import hashlib

import numpy as np
import pytest

from dataset.spaces import get_space, space_names
from perfsage.errors import UnknownNameError

TASKS = ("classification", "detection", "kws", "operators", "super_resolution")


@pytest.mark.parametrize("space", TASKS)
@pytest.mark.parametrize("dtype", ["int8", "float32"])
def test_networks_run_in_litert(space: str, dtype: str) -> None:
    from ai_edge_litert.interpreter import Interpreter

    for seed in range(6):
        interpreter = Interpreter(model_content=get_space(space).build(seed, dtype).data, num_threads=1)
        interpreter.allocate_tensors()
        for detail in interpreter.get_input_details():
            interpreter.set_tensor(detail["index"], np.ones(detail["shape"], detail["dtype"]))
        interpreter.invoke()
        for detail in interpreter.get_output_details():
            assert np.isfinite(interpreter.get_tensor(detail["index"]).astype(float)).all()


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
