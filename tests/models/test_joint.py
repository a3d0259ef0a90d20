"""The joint model: what an absent input cannot change, shapes, probabilities, saving."""

import keras
import numpy as np
import pytest

from orpheus.errors import ConfigError
from orpheus.models import joint

BATCH, HISTORY, D, TAGS = 6, 2, 8, 5
SHAPES = {"text": (4,), "factors": (3,)}


def build(**changes):
    vectors = np.random.default_rng(1).normal(size=(TAGS, 7)).astype(np.float32)
    options = {
        "tags": joint.Pairs(0.2),
        "listeners": joint.Pairs(0.1, learned=False),
        "classes": np.linspace(0.1, 0.5, TAGS),
        "history": HISTORY,
        "dimension": D,
        "dropout": 0.0,
        **changes,
    }
    return joint.build_joint(SHAPES, vectors, **options), vectors


def inputs(model, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    found = {name: rng.normal(size=(BATCH, *one.shape[1:])).astype(np.float32) for name, one in model.input.items()}
    found["present"] = np.ones(found["present"].shape, np.float32)
    if "tag" in found:
        found["tag"] = rng.integers(0, TAGS, BATCH).astype(np.int32)
    return found


def test_outputs_are_places_scales_and_logits():
    model, vectors = build()
    given = inputs(model)
    outputs = model(given, training=False).numpy()
    width = 2 * D + 1
    assert outputs.shape == (BATCH, 2 * width + TAGS)
    for start in (0, D, width, width + D):
        np.testing.assert_allclose(np.linalg.norm(outputs[:, start : start + D], axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(outputs[:, width - 1], 5.0, rtol=1e-5)
    np.testing.assert_allclose(outputs[:, 2 * width - 1], 10.0, rtol=1e-5)
    tags = model.get_layer("tag_tower")(vectors, training=False).numpy()
    np.testing.assert_allclose(outputs[:, :D], tags[given["tag"]], atol=1e-5)
    share = np.linspace(0.1, 0.5, TAGS)
    logits = 10 * outputs[:, D : 2 * D] @ tags.T + np.log(share / (1 - share))
    np.testing.assert_allclose(outputs[:, -TAGS:], logits, atol=1e-4)
    tower = model.get_layer("song_tower")
    heard = [tower({name: given[name][:, song] for name in (*SHAPES, "present")}).numpy() for song in (2, 3)]
    mean = np.mean(heard, axis=0)
    mean /= np.linalg.norm(mean, axis=1, keepdims=True)
    np.testing.assert_allclose(outputs[:, width : width + D], mean, atol=1e-5)
    learned = {weight.path for weight in model.trainable_weights}
    assert any("tag_scale" in path for path in learned) and not any("listener_scale" in path for path in learned)


def test_an_input_that_is_absent_changes_nothing():
    tower = build()[0].get_layer("song_tower")
    rng = np.random.default_rng(0)
    given = {name: rng.normal(size=(BATCH, *shape)).astype(np.float32) for name, shape in SHAPES.items()}
    noise = {**given, "factors": 100 * rng.normal(size=(BATCH, 3)).astype(np.float32)}
    without, whole = (np.tile(np.array(row, np.float32), (BATCH, 1)) for row in ([1, 0], [1, 1]))
    np.testing.assert_array_equal(tower({**given, "present": without}), tower({**noise, "present": without}))
    assert not np.allclose(tower({**given, "present": whole}), tower({**noise, "present": whole}), atol=1e-2)
    assert not np.any(tower({**given, "present": np.zeros((BATCH, 2), np.float32)}))


def test_listeners_by_factors():
    model, _ = build(listener_columns=9, classes=None, tags=None)
    assert set(model.input) == {*SHAPES, "present", "listener"} and model.input["text"].shape[1] == 1
    given = inputs(model)
    found = model.get_layer("listener_tower")(given["listener"]).numpy()
    np.testing.assert_allclose(model(given).numpy()[:, :D], found, atol=1e-5)


def test_it_is_saved_and_loaded(tmp_path):
    model, _ = build()
    given = inputs(model)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again(given), model(given))


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"tags": None, "listeners": None, "classes": None}, "needs one of them to learn from"),
        ({"history": 0}, "history=0: listeners without factors need at least one song"),
        ({"dimension": 0}, "dimension=0: must be at least 1"),
    ],
)
def test_what_cannot_be_built(changes, message):
    with pytest.raises(ConfigError, match=message):
        build(**changes)
    with pytest.raises(ConfigError, match="a song tower takes audio, text, factors"):
        joint.build_joint({"picture": (3,)}, np.ones((2, 2)), tags=joint.Pairs())
