"""One battery for every network of the table: as a tagger and as a tower, eager and in a graph, trained, saved, loaded."""

import functools
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from orpheus import models
from orpheus.errors import ConfigError
from orpheus.models import FRONTENDS, towers
from tests.conftest import ROOT
from tests.models import battery

# The others take the battery with the slow tests, in CI.
QUICK = ("log-mel-spectrogram", "fcn", "crnn")
NAMES = [pytest.param(name, marks=[] if name in QUICK else [pytest.mark.slow]) for name in FRONTENDS]
SMALL = {"waveform": (20_000,), "log-mel-spectrogram": (200, 24)}


def window(name: str, frames: int | None = None) -> tuple[int, ...]:
    """A short one that it takes, or one of so many samples or frames."""
    network = FRONTENDS[name]
    default, *mels = SMALL[network.format]
    default = min(max(default, network.shortest), network.longest or default)
    return (default if frames is None else frames, *(max(one, network.fewest_mels) for one in mels))


def small(name: str, **options) -> keras.Model:
    return models.build(name, window(name), 7, **{"n_filters": 4, "n_dense_units": 24, **options})


def stored(name: str, batch: int = 4) -> np.ndarray:
    """A batch as the pipeline stores it, padded at the end."""
    rng = np.random.default_rng(0)
    shape = (batch, *window(name))
    if FRONTENDS[name].format == "waveform":
        audio = (rng.normal(size=shape) * 9_000).clip(-32_768, 32_767).astype(np.int16)
    else:
        audio = rng.uniform(5, 100, size=shape).astype(np.float16)
    audio[0, -7:] = 0
    return audio


def settled(model: keras.Model, audio, *, first: bool = False) -> keras.Model:
    """The model with this batch's own statistics in every batch normalisation, or the first, as after some epochs."""
    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    norms = norms[:1] if first else norms
    kept = [layer.momentum for layer in norms]
    for layer in norms:
        layer.momentum = 0.0
    model(audio, training=True)
    for layer, momentum in zip(norms, kept, strict=True):
        layer.momentum = momentum
    return model


def train_step(model: keras.Model, optimizer: keras.optimizers.Optimizer, audio, targets) -> float:
    """One eager step; returns the loss before it."""
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(keras.losses.binary_crossentropy(targets, model(audio, training=True)))
        scaled = optimizer.scale_loss(loss)
    optimizer.apply(tape.gradient(scaled, model.trainable_variables), model.trainable_variables)
    return float(loss)


@pytest.mark.parametrize("name", NAMES)
def test_battery(name, tmp_path):
    audio = stored(name)
    model = settled(small(name, dropout=0.0), audio)
    probabilities = model(audio, training=False).numpy()
    assert probabilities.shape == (4, 7) and probabilities.dtype == np.float32
    assert (probabilities > 0).all() and (probabilities < 1).all() and np.ptp(probabilities) > 1e-3
    assert model.output_names == ["tags"] and model.input.name == "audio" and model.input.dtype == "float32"
    units = 2 * 4 if name == "vgg" else 24  # vgg's are what its last pooling leaves
    assert model.get_layer("embedding").output.shape == (None, units)

    battery.in_a_graph(model, audio, probabilities)
    battery.round_trip(model, audio, probabilities)
    targets = np.random.default_rng(1).integers(0, 2, (4, 7)).astype("float32")
    battery.learns(model, audio, lambda outputs: tf.reduce_mean(keras.losses.binary_crossentropy(targets, outputs)))
    battery.saved(model, audio, tmp_path)


@pytest.mark.parametrize("name", NAMES)
def test_every_variable_is_trained_on(name):
    model, audio = small(name, dropout=0.0), stored(name)
    before = {
        variable.path: variable.numpy() for variable in model.non_trainable_variables if "moving" in variable.name
    }
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(tf.square(model(audio, training=True) - np.linspace(0, 1, 7)))
    gradients = tape.gradient(loss, model.trainable_variables)
    still = [v.path for v, g in zip(model.trainable_variables, gradients, strict=True) if g is None]
    assert still == []
    kernels = [
        v.path
        for v, g in zip(model.trainable_variables, gradients, strict=True)
        if "bias" not in v.name and not np.any(g)
    ]
    assert kernels == [], "a bias before a normalisation has no gradient; all else has"
    for variable in model.non_trainable_variables:
        if variable.path in before:
            assert (variable.numpy() != before[variable.path]).any(), variable.path


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
@pytest.mark.parametrize("name", NAMES)
def test_mixed_precision_trains_and_stays_close(name, policy):
    """Within 0.03 of float32 in probability: bfloat16 has eight bits of mantissa.

    With statistics of two windows, some variances would be next to nothing, and what is divided by them rounding.
    """
    audio = stored(name, batch=2)
    single = small(name, dropout=0.0)
    if FRONTENDS[name].hears_level:  # the others standardise what they read
        settled(single, audio, first=True)
    exact = single(audio, training=False).numpy()
    keras.config.set_dtype_policy(policy)
    try:
        model = small(name, dropout=0.0)
    finally:
        keras.config.set_dtype_policy("float32")
    model.set_weights(single.get_weights())
    assert model.get_layer("embedding").compute_dtype == policy.removeprefix("mixed_")
    probabilities = model(audio, training=False)
    assert probabilities.dtype == tf.float32
    np.testing.assert_allclose(probabilities, exact, atol=0.03)
    optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.01), initial_scale=128)
    assert np.isfinite(train_step(model, optimizer, audio, np.ones((2, 7), "float32")))
    assert np.isfinite(model(audio, training=False)).all()


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_xla_gives_the_same_gradients(name):
    """Within a share of the whole gradient: sums run in another order, and near ties of a maximum may fall otherwise.

    An untrained network of Pons' waveforms is chaotic: without XLA, its gradient moves by 2 % when the input does by 1e-5.
    """
    model, audio = small(name, dropout=0.0), stored(name, batch=6)

    def gradients(x):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(model(x, training=True)))
        return tape.gradient(loss, model.trainable_variables)

    compiled, plain = tf.function(gradients, jit_compile=True)(audio), gradients(audio)
    bound = 0.1 if name == "waveform" else 0.02
    total = np.sqrt(sum(np.sum(np.square(one)) for one in plain))
    difference = np.sqrt(sum(np.sum(np.square(a - b)) for a, b in zip(compiled, plain, strict=True)))
    assert difference <= bound * total and total > 1e-4


REPLICAS = """
import sys, keras, numpy as np, tensorflow as tf
from orpheus import models
from tests.models.test_networks import small, stored

cpu, one = tf.config.list_physical_devices("CPU")[0], tf.config.LogicalDeviceConfiguration()
tf.config.set_logical_device_configuration(cpu, [one, one])
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])

def gradients(model, audio, tags):
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(keras.ops.binary_crossentropy(tags, model(audio, training=True))) / 28
    return tape.gradient(loss, model.trainable_variables)

for name in sys.argv[1:]:
    audio = stored(name).astype("float32")
    tags = np.random.default_rng(1).integers(0, 2, (4, 7)).astype("float32")
    expected = gradients(small(name, dropout=0.0), audio, tags)
    with strategy.scope():
        model = small(name, dropout=0.0, synchronized=True)
    def both(audio, tags):
        return tf.distribute.get_replica_context().all_reduce("sum", gradients(model, audio, tags))
    halves = strategy.experimental_distribute_dataset(tf.data.Dataset.from_tensor_slices((audio, tags)).batch(4))
    found = tf.function(lambda audio, tags: strategy.run(both, (audio, tags)))(*next(iter(halves)))
    found = [strategy.experimental_local_results(value)[0] for value in found]
    difference = np.sqrt(sum(np.sum(np.square(a - b)) for a, b in zip(found, expected)))
    size = np.sqrt(sum(np.sum(np.square(b)) for b in expected))
    assert difference < 5e-3 * size, (name, difference, size)
    print(name)
"""


@pytest.mark.slow
def test_two_replicas_have_the_gradients_of_one():
    """With synchronised statistics; in a process of its own, whose processor is split in two."""
    names = ["crnn", "self-attention", "harmonic"]
    done = subprocess.run([sys.executable, "-c", REPLICAS, *names], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.split() == names, done.stderr[-2000:]


@pytest.mark.parametrize("name", NAMES)
def test_synchronised_statistics_reach_every_normalisation(name):
    norms = [
        layer for layer in small(name, synchronized=True).layers if isinstance(layer, keras.layers.BatchNormalization)
    ]
    assert norms and all(layer.synchronized for layer in norms)
    plain = [layer for layer in small(name).layers if isinstance(layer, keras.layers.BatchNormalization)]
    assert len(plain) == len(norms) and not any(layer.synchronized for layer in plain)


@pytest.mark.parametrize("name", NAMES)
def test_same_seed_same_weights_and_no_two_kernels_alike(name):
    first, second, other = (small(name, seed=seed).get_weights() for seed in (3, 3, 4))
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    kernels = [i for i, weight in enumerate(first) if weight.ndim > 1 and weight.std() > 0]
    assert kernels and all(not np.array_equal(first[i], other[i]) for i in kernels)
    twins = [(i, k) for i in kernels for k in kernels if i < k and np.array_equal(first[i], first[k])]
    assert twins == []


@pytest.mark.parametrize("name", NAMES)
def test_level(name):
    """Twice the amplitude is other tags where the table says that the level is heard, and the same where not."""
    audio = stored(name)
    model = settled(small(name), audio)
    louder = (audio // 4 * 2).astype(audio.dtype), (audio // 4 * 4).astype(audio.dtype)
    if FRONTENDS[name].format == "log-mel-spectrogram":
        louder = np.where(audio > 0, audio, 0), np.where(audio > 0, audio + 6, 0)
    outputs = [model(one.astype(np.float32), training=False).numpy() for one in louder]
    difference = np.abs(outputs[0] - outputs[1]).max()
    assert difference > 1e-3 if FRONTENDS[name].hears_level else difference < 2e-3
    assert np.isfinite(model(np.zeros_like(audio, np.float32), training=False)).all()


@pytest.mark.parametrize("name", NAMES)
def test_shortest_and_longest_window(name):
    network = FRONTENDS[name]
    assert models.minimum_window(name) == network.shortest
    sizes = {"n_filters": 4, "n_dense_units": 5}
    model = models.build(name, window(name, network.shortest), 3, **sizes)
    audio = np.ones((1, *window(name, network.shortest)), np.float32)
    assert np.isfinite(model(audio, training=False)).all()
    if network.shortest > 1:
        with pytest.raises(ConfigError, match=f"window_length.* at least {network.shortest} "):
            models.build(name, window(name, network.shortest - 1), 3, **sizes)
    if network.longest is not None:
        with pytest.raises(ConfigError, match=f"window_length.* at most {network.longest} "):
            models.build(name, window(name, network.longest + 1), 3, **sizes)
    if network.fewest_mels > 1:
        with pytest.raises(ConfigError, match=f"n_mels={network.fewest_mels - 1}: .* at least {network.fewest_mels}"):
            models.build(name, (network.shortest, network.fewest_mels - 1), 3, **sizes)


@pytest.mark.parametrize("name", NAMES)
def test_records_of_the_other_format_are_refused_with_the_cure(name):
    other = next(shape for kind, shape in SMALL.items() if kind != FRONTENDS[name].format)
    with pytest.raises(ConfigError, match=rf"{name}: takes {FRONTENDS[name].format} records"):
        models.build(name, other, 3)


@pytest.mark.parametrize("name", NAMES)
def test_layers_are_keras_own_or_registered(name):
    for layer in small(name).layers:
        assert not isinstance(layer, keras.layers.Lambda)
        registered = keras.saving.get_registered_name(type(layer))
        assert registered.startswith("orpheus>") or type(layer).__module__.startswith("keras.")


@pytest.mark.parametrize("name", NAMES)
def test_towers(name):
    shape = window(name)
    model = towers.build_towers({"audio": shape}, 6, n_filters=4, frontend=name, dimension=8)
    audio = stored(name, 2)[:, None].repeat(2, 1).astype(np.float32)
    outputs = model({"tag": np.ones((2, 6), np.float32), "audio": audio}, training=False).numpy()
    assert outputs.shape == (2, 3, 8)
    np.testing.assert_allclose(np.linalg.norm(outputs, axis=-1), 1, atol=1e-5)


@pytest.mark.slow
def test_they_load_with_nothing_but_the_models_imported(tmp_path):
    for name in ("log-mel-spectrogram", "self-attention", "harmonic", "spectrogram-transformer"):  # layers of our own
        small(name).save(tmp_path / f"{name}.keras")
    program = (
        "import sys, pathlib, keras, orpheus.models\n"
        "for path in pathlib.Path(sys.argv[1]).glob('*.keras'): keras.saving.load_model(path)"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=True, capture_output=True)


@pytest.mark.parametrize(("name", "n_filters"), [("self-attention", 6), ("spectrogram-transformer", 96)])
def test_sizes_that_heads_cannot_share_are_refused(name, n_filters):
    with pytest.raises(ConfigError, match=f"n_filters={n_filters}: "):
        small(name, n_filters=n_filters)


def test_a_transformer_takes_windows_of_other_lengths_than_it_was_trained_on():
    short, long = (
        models.build("spectrogram-transformer", (frames, 32), 3, n_filters=8, n_dense_units=5) for frames in (32, 96)
    )
    long.set_weights(short.get_weights())
    start = functools.partial(keras.Model, short.input)(short.get_layer("positions").output)
    same = keras.Model(long.input, long.get_layer("positions").output)
    audio = np.random.default_rng(0).uniform(0, 90, (1, 96, 32)).astype(np.float32)
    np.testing.assert_allclose(start(audio[:, :32])[0], same(audio)[0, :4], atol=1e-5)
    assert not np.allclose(same(audio)[0, :2], same(audio)[0, 2:4], atol=1e-3)
