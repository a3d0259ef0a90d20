"""model.keras of every kind of run loads in plain Keras once orpheus is imported, before or after keras."""

import subprocess
import sys

import numpy as np
import pytest

from orpheus import registered
from tests.conftest import ROOT
from tests.test_structure import MODULES

LOAD = """
import sys
{first}
assert "tensorflow" not in sys.modules or {heavy}, "import orpheus must stay light"
{second}
import keras, numpy as np
assert keras.__spec__.loader is keras.__loader__ and type(keras.__loader__).__module__ == "_frozen_importlib_external"
for name in sys.argv[2:]:
    model = keras.models.load_model(f"{{sys.argv[1]}}/{{name}}.keras")
    case = np.load(f"{{sys.argv[1]}}/{{name}}.npz")
    inputs = {{key: case[key] for key in case.files if key != "outputs"}}
    found = model.predict(inputs if len(inputs) > 1 else inputs.popitem()[1], verbose=0)
    assert np.abs(found - case["outputs"]).max() < 1e-6, name
    print(name, model.loss.name if hasattr(model.loss, "name") else model.loss)
"""
ORDERS = {
    "orpheus, then keras": ("import orpheus", "import keras"),
    "keras, then orpheus": ("import keras", "import orpheus"),
    "orpheus, then tensorflow": ("import orpheus", "import tensorflow as tf; tf.keras.models.load_model"),
    "tensorflow, then orpheus": ("import tensorflow", "import orpheus"),
    "a part of orpheus first": ("import orpheus.learning.losses", ""),
    "keras looked for": ("import orpheus, importlib.util; importlib.util.find_spec('keras')", "import keras"),
}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Models as the engine saves them: compiled with the task's loss, metrics and schedule."""
    import keras

    from orpheus import models
    from orpheus.config_experiment import VectorInput
    from orpheus.learning import losses, metrics, schedules, triplets
    from orpheus.models import towers

    folder = tmp_path_factory.mktemp("saved")
    rng = np.random.default_rng(0)
    aware = losses.EmbeddingAwareCrossentropy(np.array([[1, 0.5, np.nan], [0.5, 1, np.nan], [np.nan] * 3]), 2.0)
    small = {"n_filters": 1, "n_dense_units": 4}
    cases = {
        "waveform": (models.build("waveform", (19680,), 3, **small), "binary_crossentropy"),
        "log-mel": (models.build("log-mel-spectrogram", (12, 8), 3, **small), "binary_crossentropy"),
        "embedding-aware": (models.build("log-mel-spectrogram", (12, 8), 3, **small), aware),
        "recommendation": (
            models.build_modalities({"bio": VectorInput(dense=[4]), "image": VectorInput()}, {"bio": (5,), "image": (6,)}, 3),
            losses.CosineDistance(),
        ),
        "retrieval": (towers.build_towers({"factors": (5,)}, 6, dimension=8), triplets.TripletLoss()),
    }  # fmt: skip
    for name, (model, loss) in cases.items():
        model.compile(
            keras.optimizers.Adam(schedules.Cyclical(1e-4, 1e-3, 10)), loss, [metrics.TagAUC(3)], jit_compile=False
        )
        model.save(folder / f"{name}.keras", include_optimizer=False)
        inputs = {tensor.name: rng.normal(size=(2, *tensor.shape[1:])).astype(np.float32) for tensor in model.inputs}
        outputs = model.predict(inputs if len(inputs) > 1 else next(iter(inputs.values())), verbose=0)
        np.savez(folder / f"{name}.npz", outputs=outputs, **inputs)
    return folder, list(cases)


@pytest.mark.slow
@pytest.mark.parametrize("order", ORDERS)
def test_plain_keras_loads_every_kind_of_run(saved, order):
    first, second = ORDERS[order]
    light = first.startswith(("import orpheus\n", "import orpheus,")) or first == "import orpheus"
    folder, names = saved
    code = LOAD.format(first=first, second=second, heavy=not light)
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder), *names], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert [line.split()[0] for line in done.stdout.splitlines()] == names
    assert "embedding-aware embedding_aware_crossentropy" in done.stdout
    assert "recommendation cosine_distance" in done.stdout
    assert "retrieval triplet" in done.stdout


def test_every_module_that_registers_a_class_is_named():
    users = [
        name for name, path in MODULES.items() if "@keras.saving.register_keras" in path.read_text(encoding="utf-8")
    ]
    assert sorted(registered.MODULES) == sorted(users)
