"""The known spaces written in Keras and converted by TensorFlow's own converter.

Run by the slow tests in an interpreter that has TensorFlow, which PerfSAGE itself never needs:
python reference_networks.py SPACE DTYPE OUTPUT < architectures (one a line)
"""

import sys
from pathlib import Path

import numpy as np
import tensorflow as tf

keras = tf.keras
layers = keras.layers
SAMPLES = 4


def nasbench201(cell):
    nodes = [[edge.split("~") for edge in node.strip("|").split("|")] for node in cell.split("+")]
    inputs = keras.Input((32, 32, 3), batch_size=1)
    x = batch_norm(layers.Conv2D(16, 3, padding="same", use_bias=False)(inputs))
    for stage, channels in enumerate((16, 32, 64)):
        if stage:
            x = reduction(x, channels)
        for _ in range(5):
            x = run_cell(nodes, x)
    x = layers.ReLU()(batch_norm(x, offset=0.5))
    return keras.Model(inputs, layers.Dense(10)(layers.GlobalAveragePooling2D()(x)))


def run_cell(nodes, x):
    values = [x]
    for edges in nodes:
        parts = [run_edge(name, values[int(source)]) for name, source in edges]
        total = parts[0]
        for part in parts[1:]:
            total = layers.Add()([total, part])
        values.append(total)
    return values[-1]


def run_edge(name, x):
    if name == "none":
        return layers.Lambda(tf.zeros_like)(x)
    if name == "skip_connect":
        return x
    if name == "avg_pool_3x3":
        return layers.AveragePooling2D(3, strides=1, padding="same")(x)
    kernel = {"nor_conv_1x1": 1, "nor_conv_3x3": 3}[name]
    return relu_conv_norm(x, x.shape[-1], kernel, 1)


def relu_conv_norm(x, filters, kernel, stride):
    x = layers.ReLU()(x)
    return batch_norm(layers.Conv2D(filters, kernel, strides=stride, padding="same", use_bias=False)(x))


def reduction(x, filters):
    y = relu_conv_norm(relu_conv_norm(x, filters, 3, 2), filters, 3, 1)
    shortcut = layers.AveragePooling2D(2)(x)
    return layers.Add()([layers.Conv2D(filters, 1, use_bias=False)(shortcut), y])


def batch_norm(x, offset=0.0):
    """Offsets stay zero, so that a convolution of zeros stays zero, but for the network's last one."""
    random = keras.initializers.RandomUniform(0.2, 1.0, seed=x.shape[-1])
    return layers.BatchNormalization(
        gamma_initializer=random, beta_initializer=keras.initializers.Constant(offset)
    )(x)


def fbnet(blocks):
    inputs = keras.Input((32, 32, 3), batch_size=1)
    x = conv_norm_relu(inputs, 16, 3)
    plan = zip((16, 24, 32, 64, 112, 184, 352), (1, 4, 4, 4, 4, 4, 1), (1, 1, 2, 2, 1, 2, 1), strict=True)
    names = iter(blocks.split())
    for filters, count, stride in plan:
        for number in range(count):
            x = fbnet_block(next(names), x, filters, 1 if number else stride)
    x = layers.GlobalAveragePooling2D()(conv_norm_relu(x, 1504, 1))
    return keras.Model(inputs, layers.Dense(100)(x))


def conv_norm_relu(x, filters, kernel, stride=1, groups=1):
    x = layers.Conv2D(filters, kernel, strides=stride, padding="same", groups=groups, use_bias=False)(x)
    return layers.ReLU()(batch_norm(x))


def fbnet_block(name, x, filters, stride):
    if name == "skip":
        same = stride == 1 and x.shape[-1] == filters
        return x if same else conv_norm_relu(x, filters, 1, stride)
    kernel, expansion, *grouped = (int(part[1:]) for part in name.split("_"))
    groups = grouped[0] if grouped else 1
    y = conv_norm_relu(x, x.shape[-1] * expansion, 1, 1, groups)
    if groups > 1:
        y = shuffle(y, groups)
    y = layers.DepthwiseConv2D(kernel, strides=stride, padding="same", use_bias=False)(y)
    y = layers.ReLU()(batch_norm(y))
    y = batch_norm(layers.Conv2D(filters, 1, groups=groups, use_bias=False)(y))
    return layers.Add()([x, y]) if stride == 1 and x.shape[-1] == filters else y


def shuffle(x, groups):
    _, height, width, channels = x.shape
    x = layers.Reshape((height, width, groups, channels // groups))(x)
    return layers.Reshape((height, width, channels))(layers.Permute((1, 2, 4, 3))(x))


def convert(model, dtype):
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    if dtype == "int8":
        random = np.random.default_rng(0)
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: (
            [random.standard_normal((1, 32, 32, 3)).astype(np.float32)] for _ in range(SAMPLES)
        )
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.int8
    return converter.convert()


if __name__ == "__main__":
    space, dtype, output = sys.argv[1:]
    for number, line in enumerate(sys.stdin):
        data = convert(globals()[space](line.strip()), dtype)
        (Path(output) / f"{number}.tflite").write_bytes(data)
