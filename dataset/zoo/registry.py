"""The networks of the zoo by name, with what their authors published of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from dataset.builder import Builder, Dtype
from dataset.zoo import (
    classics,
    detectors,
    efficientnet,
    inception,
    mlperf_tiny,
    mobilenet,
    nasnet,
    vision_transformer,
)
from perfsage.errors import InvalidInputError, UnknownNameError

MAX_BATCH = 64


@dataclass(frozen=True, slots=True)
class ZooNetwork:
    """A network that can be built; `build` adds it to a builder for a batch of so many inputs.

    The published figures are those of one input in float32; None where the authors gave none.
    """

    name: str
    family: str
    year: int
    build: Callable[[Builder, int], None]
    published_macs: float | None = None
    published_parameters: float | None = None
    top1_percent: float | None = None
    """Published accuracy on ImageNet's validation set."""
    also: tuple[str, ...] = ()
    """What ncnn's benchmark and Qualcomm AI Hub call the same architecture."""


_NETWORKS = (
    ZooNetwork(
        "mobilenet-v1", "MobileNet", 2017, mobilenet.v1, 569e6, 4.24e6, top1_percent=70.9, also=("mobilenet",)
    ),
    ZooNetwork(
        "mobilenet-v1-0.25-128",
        "MobileNet",
        2017,
        partial(mobilenet.v1, width=0.25, pixels=128),
        14e6,
        0.47e6,
        top1_percent=41.5,
    ),
    ZooNetwork(
        "mobilenet-v2",
        "MobileNet",
        2018,
        mobilenet.v2,
        300e6,
        3.47e6,
        top1_percent=71.8,
        also=("mobilenet_v2",),
    ),
    ZooNetwork(
        "mobilenet-v3-large",
        "MobileNet",
        2019,
        mobilenet.v3_large,
        217e6,
        5.48e6,
        top1_percent=75.2,
        also=("mobilenet_v3", "mobilenet_v3_large"),
    ),
    ZooNetwork(
        "mobilenet-v3-small",
        "MobileNet",
        2019,
        mobilenet.v3_small,
        56.5e6,
        2.54e6,
        top1_percent=67.5,
        also=("mobilenet_v3_small",),
    ),
    ZooNetwork(
        "mnasnet-b1",
        "MnasNet",
        2018,
        mobilenet.mnasnet_b1,
        315e6,
        4.38e6,
        top1_percent=74.5,
        also=("mnasnet",),
    ),
    ZooNetwork(
        "efficientnet-lite0",
        "EfficientNet-Lite",
        2020,
        partial(efficientnet.lite, size=0),
        407e6,
        4.7e6,
        top1_percent=75.1,
    ),
    ZooNetwork(
        "efficientnet-lite1",
        "EfficientNet-Lite",
        2020,
        partial(efficientnet.lite, size=1),
        631e6,
        5.4e6,
        top1_percent=76.7,
    ),
    ZooNetwork(
        "efficientnet-lite2",
        "EfficientNet-Lite",
        2020,
        partial(efficientnet.lite, size=2),
        899e6,
        6.1e6,
        top1_percent=77.6,
    ),
    ZooNetwork(
        "efficientnet-lite3",
        "EfficientNet-Lite",
        2020,
        partial(efficientnet.lite, size=3),
        1.44e9,
        8.2e6,
        top1_percent=79.8,
    ),
    ZooNetwork(
        "efficientnet-lite4",
        "EfficientNet-Lite",
        2020,
        partial(efficientnet.lite, size=4),
        2.64e9,
        13.0e6,
        top1_percent=81.5,
        also=("efficientnet_lite4",),
    ),
    ZooNetwork(
        "squeezenet-1.1",
        "SqueezeNet",
        2016,
        classics.squeezenet,
        349e6,
        1.235e6,
        top1_percent=57.5,
        also=("squeezenet", "squeezenet1_1"),
    ),
    ZooNetwork(
        "shufflenet-v2",
        "ShuffleNet",
        2018,
        classics.shufflenet_v2,
        146e6,
        2.28e6,
        top1_percent=69.4,
        also=("shufflenet_v2",),
    ),
    ZooNetwork(
        "resnet-18",
        "ResNet",
        2015,
        classics.resnet18,
        1.814e9,
        11.69e6,
        top1_percent=69.8,
        also=("resnet18",),
    ),
    ZooNetwork(
        "resnet-50",
        "ResNet",
        2015,
        classics.resnet50,
        4.089e9,
        25.56e6,
        top1_percent=76.1,
        also=("resnet50",),
    ),
    ZooNetwork(
        "inception-v1",
        "Inception",
        2014,
        inception.v1,
        1.58e9,
        6.99e6,
        top1_percent=69.8,
        also=("googlenet",),
    ),
    ZooNetwork(
        "inception-v3",
        "Inception",
        2015,
        inception.v3,
        5.713e9,
        23.83e6,
        top1_percent=77.3,
        also=("inception_v3",),
    ),
    ZooNetwork(
        "densenet-121",
        "DenseNet",
        2016,
        classics.densenet121,
        2.834e9,
        7.98e6,
        top1_percent=74.4,
        also=("densenet121",),
    ),
    ZooNetwork("nasnet-mobile", "NASNet", 2017, nasnet.nasnet_mobile, 564e6, 5.3e6, top1_percent=74.0),
    ZooNetwork("vgg-16", "VGG", 2014, classics.vgg16, 15.47e9, 138.36e6, top1_percent=71.6, also=("vgg16",)),
    ZooNetwork(
        "ssd-mobilenet-v1", "SSD", 2017, detectors.ssd_mobilenet_v1, 1.2e9, 6.8e6, also=("mobilenet_ssd",)
    ),
    ZooNetwork("ssdlite-mobilenet-v2", "SSD", 2018, detectors.ssdlite_mobilenet_v2, 0.8e9, 4.3e6),
    ZooNetwork(
        "vit-tiny", "Transformer", 2020, vision_transformer.vit_tiny, 1.26e9, 5.7e6, top1_percent=72.2
    ),
    ZooNetwork("mlperf-tiny-kws", "MLPerf Tiny", 2021, mlperf_tiny.keyword_spotting),
    ZooNetwork("mlperf-tiny-vww", "MLPerf Tiny", 2021, mlperf_tiny.visual_wake_words),
    ZooNetwork("mlperf-tiny-ic", "MLPerf Tiny", 2021, mlperf_tiny.image_classification),
    ZooNetwork("mlperf-tiny-ad", "MLPerf Tiny", 2021, mlperf_tiny.anomaly_detection),
)
NETWORKS = {network.name: network for network in _NETWORKS}


def network_names() -> tuple[str, ...]:
    """Return the names of all networks."""
    return tuple(NETWORKS)


def get_network(name: str) -> ZooNetwork:
    """Return what is known of a network; UnknownNameError names those that exist."""
    if name not in NETWORKS:
        hint = f"Known networks: {', '.join(NETWORKS)}."
        raise UnknownNameError(f"there is no network {name!r}", hint=hint)
    return NETWORKS[name]


def build_network(name: str, dtype: Dtype = "int8", *, batch: int = 1) -> bytes:
    """Return the network as a .tflite file; UnknownNameError names those that exist.

    >>> len(build_network("mlperf-tiny-kws")) > 20_000
    True
    """
    network = get_network(name)
    if not 1 <= batch <= MAX_BATCH:
        raise InvalidInputError(f"a batch of {batch} cannot be built", hint=f"Use 1 to {MAX_BATCH}.")
    builder = Builder(dtype=dtype, description=name, spread=0.6)
    network.build(builder, batch)
    return builder.finish()
