"""The field's networks against PyTorch's of the same weights (torch_reference.py), and their sizes against the papers'."""

import json
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from orpheus import models
from orpheus.models.networks.harmonic import HarmonicFilters

REFERENCE = np.load(Path(__file__).with_name("torch_reference.npz"))
CLASSES = 50


def trainable(model: keras.Model) -> int:
    """Weights that gradients change: PyTorch counts no moving statistics as parameters."""
    return sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)


# The tables below are the papers' and written out by hand: (inputs, outputs, length of the filter's sides) of every
# convolution, whose batch normalisation adds two numbers per output.


def convolutions(*layers: tuple[int, int, int], bias: bool = True) -> int:
    return sum(inputs * outputs * area + bias * outputs + 2 * outputs for inputs, outputs, area in layers)


def dense(inputs: int, outputs: int) -> int:
    return inputs * outputs + outputs


def excitations(*channels: int) -> int:
    return sum(2 * dense(each, each) for each in channels)


def residuals(*blocks: tuple[int, int], area: int, shortcuts: int) -> int:
    """Blocks of two convolutions; the given number of them, from the first on, have a third."""
    return sum(
        convolutions((inputs, outputs, area), (outputs, outputs, area))
        + (convolutions((inputs, outputs, area)) if number < shortcuts else 0)
        for number, (inputs, outputs) in enumerate(blocks)
    )


SHORT_CHUNK = ((1, 128), (128, 128), (128, 256), (256, 256), (256, 256), (256, 256), (256, 512))
ATTENTION = ((1, 128), (128, 128), (128, 256), (256, 256), (256, 256), (256, 256), (256, 256))
SAMPLES = ((1, 128), (128, 128), (128, 128), (128, 256), *[(256, 256)] * 5, (256, 512))
TRANSFORMER = 4 * dense(256, 256) + dense(256, 1024) + dense(1024, 256) + 2 * 2 * 256
SIZES = {
    "fcn": (
        (1813, 96),
        2 + convolutions((1, 64, 9), (64, 128, 9), (128, 128, 9), (128, 128, 9), (128, 64, 9)) + dense(64, 50),
    ),
    "crnn": (
        (1813, 96),
        2
        + convolutions((1, 64, 9), (64, 128, 9), (128, 128, 9), (128, 128, 9))
        + 3 * (128 * 32 + 32 * 32 + 2 * 32)  # three gates, two biases
        + 3 * (32 * 32 + 32 * 32 + 2 * 32)
        + dense(32, 50),
    ),
    "sample-level": (
        (59_049,),
        convolutions(*[(*layer, 3) for layer in SAMPLES], (512, 512, 1)) + dense(512, 50),
    ),
    "sample-level-se": (
        (59_049,),
        # Blocks 1, 4 and 10 change the number of channels, so their shortcut is a convolution; the eleventh is 1 long.
        sum(convolutions((a, b, 3), (b, b, 3)) for a, b in SAMPLES)
        + convolutions((1, 128, 3), (128, 256, 3), (256, 512, 3))
        + convolutions((512, 512, 1), (512, 512, 1))
        + excitations(*[b for _, b in SAMPLES], 512)
        + dense(512, 512)
        + 2 * 512
        + dense(512, 50),
    ),
    "short-chunk": (
        (231, 128),
        2
        + convolutions(*[(*layer, 9) for layer in SHORT_CHUNK], bias=False)
        + dense(512, 512)
        + 2 * 512
        + dense(512, 50),
    ),
    "short-chunk-residual": (
        (231, 128),
        2 + residuals(*SHORT_CHUNK, area=9, shortcuts=7) + dense(512, 512) + 2 * 512 + dense(512, 50),
    ),
    "self-attention": (
        (938, 128),
        2 + residuals(*ATTENTION, area=9, shortcuts=7) + 256 + 2 * TRANSFORMER + dense(256, 256) + dense(256, 50),
    ),
    "harmonic": (
        (80_000,),
        1
        + 2 * 6
        + convolutions((6, 128, 9), (128, 256, 9))
        + residuals((128, 128), (128, 128), (128, 128), (256, 256), (256, 256), area=9, shortcuts=0)
        + dense(256, 256)
        + 2 * 256
        + dense(256, 50),
    ),
    "spectrogram-transformer": (
        (313, 96),
        2
        + dense(256, 192)
        + 6 * 192  # patches of 16 × 16, positions of 96 / 16 bands
        + 6 * (4 * dense(192, 192) + dense(192, 768) + dense(768, 192) + 2 * 2 * 192)
        + 2 * 192
        + dense(192, 192)
        + dense(192, 50),
    ),
}
# What we have more than PyTorch: a class token that learns, and no biases before a normalisation.
DIFFERENCES = {"self-attention": 256, "short-chunk": -(128 + 128 + 4 * 256 + 512)}


@pytest.mark.parametrize("name", SIZES)
def test_sizes_are_the_papers(name):
    window, expected = SIZES[name]
    assert trainable(models.build(name, window, CLASSES)) == expected
    if f"{name}/parameters" in REFERENCE:
        assert expected == REFERENCE[f"{name}/parameters"] + DIFFERENCES.get(name, 0)


def of_reference(name: str) -> dict[str, list[np.ndarray]]:
    """Weights of every layer."""
    layout, flat = json.loads(str(REFERENCE[f"{name}/layout"])), REFERENCE[f"{name}/weights"].astype(np.float32)
    values = iter(np.split(flat, np.cumsum([np.prod(shape, dtype=int) for own in layout.values() for shape in own])))
    return {layer: [next(values).reshape(shape) for shape in own] for layer, own in layout.items()}


def inputs_of_reference(name: str) -> np.ndarray:
    """What `stored` of torch_reference.py makes, in our order of axes."""
    shapes = {"fcn": (96, 1300), "crnn": (96, 300), "harmonic": (80_000,)}
    default = (59_049,) if name.startswith("sample") else (128, 151)
    shape = shapes.get(name, default)
    rng = np.random.default_rng(0)
    if len(shape) == 1:
        envelope = 9000 * np.abs(np.sin(np.arange(shape[0]) / 3000))
        return (rng.normal(size=(2, *shape)) * envelope / [[1], [9]]).clip(-32768, 32767).astype(np.int16)
    return (rng.uniform(0, 90, (2, *shape)) / [[[1]], [[2]]]).astype(np.float16).transpose(0, 2, 1)


@pytest.mark.parametrize("name", [name for name in SIZES if f"{name}/parameters" in REFERENCE])
def test_outputs_are_pytorchs(name):
    weights, expected = of_reference(name), REFERENCE[f"{name}/output"]
    audio = inputs_of_reference(name)
    n_filters = 4 if name == "self-attention" else next(w for w in weights.values() if w[0].ndim >= 3)[0].shape[-1]
    model = models.build(name, audio.shape[1:], CLASSES, n_filters=n_filters, n_dense_units=8)
    given = set(weights)
    for layer in model.layers:
        own = weights.get(layer.name)
        if layer.name == "class_token":
            own = [np.linspace(-1, 1, 8, dtype=np.float32)[None, None]]
        elif name == "short-chunk" and layer.name.endswith("_norm") and layer.name.startswith("conv_"):
            gamma, beta, mean, variance = weights[layer.name]
            own = [gamma, beta, mean - weights[layer.name.removesuffix("_norm")][1], variance]
        elif name == "short-chunk" and layer.name.startswith("conv_") and layer.weights:
            own = weights[layer.name][:1]
        if layer.weights and layer.name != "tags":
            layer.set_weights(own)
            given.discard(layer.name)
    assert not given, "every weight of the reference has its place"
    output = keras.Model(model.input, model.get_layer(str(REFERENCE[f"{name}/compared"])).output)(
        audio.astype(np.float32), training=False
    )
    np.testing.assert_allclose(output, expected, atol=2e-4 * np.abs(expected).max())


def test_a_learned_width_has_the_gradient_of_its_differences():
    """Of high bands, which hold many bins: where a low one's only bin leaves it, its decibels fall off a step."""
    layer = HarmonicFilters()
    audio = np.random.default_rng(0).normal(size=(1, 2000)).astype(np.float32) * 0.1

    def level():
        return tf.reduce_mean(layer(audio)[:, :, 64:, 2:])

    level()
    with tf.GradientTape() as tape:
        total = level()
    gradient = float(tape.gradient(total, layer.trainable_variables)[0])
    values = []
    for step in (-1e-2, 1e-2):
        layer.quality.assign(1 + step)
        values.append(float(level()))
    assert abs(gradient) > 0.1
    assert gradient == pytest.approx((values[1] - values[0]) / 2e-2, rel=1e-2)
