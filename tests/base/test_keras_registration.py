"""model.keras of every kind of run loads in plain Keras once orpheus.models is imported, before or after keras."""

import subprocess
import sys

import numpy as np
import pytest

from orpheus.base import keras_registration
from tests.conftest import ROOT
from tests.test_structure import MODULES

LOAD = """
import sys
{imports}
import keras, numpy as np
for name in sys.argv[2:]:
    model = keras.models.load_model(f"{{sys.argv[1]}}/{{name}}.keras")
    case = np.load(f"{{sys.argv[1]}}/{{name}}.npz")
    inputs = {{key: case[key] for key in case.files if key != "outputs"}}
    found = model.predict(inputs if len(inputs) > 1 else inputs.popitem()[1], verbose=0)
    assert np.abs(found - case["outputs"]).max() < 1e-6, name
    print(name, model.loss.name if hasattr(model.loss, "name") else model.loss)
"""
ORDERS = ("import orpheus.models; import keras", "import keras; import orpheus.models")


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Models as the engine saves them: compiled with the task's loss, metrics and schedule."""
    import keras

    from orpheus import models
    from orpheus.config.experiment import VectorInput
    from orpheus.learning.engine import schedules
    from orpheus.learning.evaluation import tag_auc
    from orpheus.learning.losses import pointwise, triplet
    from orpheus.models import towers

    folder = tmp_path_factory.mktemp("saved")
    rng = np.random.default_rng(0)
    aware = pointwise.EmbeddingAwareCrossentropy(np.array([[1, 0.5, np.nan], [0.5, 1, np.nan], [np.nan] * 3]), 2.0)
    small = {"n_filters": 1, "n_dense_units": 4}
    cases = {
        "waveform": (models.build("waveform", (19680,), 3, **small), "binary_crossentropy"),
        "log-mel": (models.build("log-mel-spectrogram", (12, 8), 3, **small), "binary_crossentropy"),
        "embedding-aware": (models.build("log-mel-spectrogram", (12, 8), 3, **small), aware),
        "recommendation": (
            models.build_modalities(
                {"bio": VectorInput(dense=[4]), "image": VectorInput()}, {"bio": (5,), "image": (6,)}, 3
            ),
            pointwise.CosineDistance(),
        ),
        "retrieval": (towers.build_towers({"factors": (5,)}, 6, dimension=8), triplet.TripletLoss()),
    }
    for name, (model, loss) in cases.items():
        model.compile(
            keras.optimizers.Adam(schedules.Cyclical(1e-4, 1e-3, 10)), loss, [tag_auc.TagAUC(3)], jit_compile=False
        )
        model.save(folder / f"{name}.keras", include_optimizer=False)
        inputs = {tensor.name: rng.normal(size=(2, *tensor.shape[1:])).astype(np.float32) for tensor in model.inputs}
        outputs = model.predict(inputs if len(inputs) > 1 else next(iter(inputs.values())), verbose=0)
        np.savez(folder / f"{name}.npz", outputs=outputs, **inputs)
    return folder, list(cases)


def test_import_orpheus_loads_no_keras():
    code = "import orpheus, sys; sys.exit('keras' in sys.modules or 'tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


@pytest.mark.slow
@pytest.mark.parametrize("imports", ORDERS)
def test_plain_keras_loads_every_kind_of_run(saved, imports):
    folder, names = saved
    done = subprocess.run(
        [sys.executable, "-c", LOAD.format(imports=imports), str(folder), *names],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
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
    assert sorted(keras_registration.MODULES) == sorted(users)
