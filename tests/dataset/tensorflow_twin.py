"""Make networks with TensorFlow's converter; run by the Python that has TensorFlow, with a folder."""

import sys
from pathlib import Path

import numpy as np
import tensorflow as tf


def network() -> tf.keras.Model:
    """The network that test_tensorflow_twins.py builds directly."""
    layers = tf.keras.layers
    x = inputs = layers.Input((32, 32, 3), batch_size=1)
    x = layers.ReLU(6)(layers.Conv2D(16, 3, 2, "same")(x))
    for filters in (16, 24, 24):
        y = layers.ReLU(6)(layers.Conv2D(48, 1, padding="same")(x))
        y = layers.ReLU(6)(layers.DepthwiseConv2D(3, padding="same")(y))
        y = layers.Conv2D(filters, 1, padding="same")(y)
        x = layers.Add()([x, y]) if x.shape == y.shape else y
    x = layers.MaxPooling2D(2)(x)
    x = layers.GlobalAveragePooling2D()(x)
    return tf.keras.Model(inputs, layers.Softmax()(layers.Dense(10)(x)))


def convert(model: tf.keras.Model, int8: bool) -> bytes:
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    if int8:
        generator = np.random.default_rng(0)
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: (
            [generator.uniform(-1, 1, (1, 32, 32, 3)).astype(np.float32)] for _ in range(32)
        )
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.int8
    return converter.convert()


if __name__ == "__main__":
    tf.keras.utils.set_random_seed(1)
    keras_model = network()
    for dtype in ("int8", "float32"):
        Path(sys.argv[1], f"{dtype}.tflite").write_bytes(convert(keras_model, dtype == "int8"))
