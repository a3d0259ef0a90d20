"""A run folder as orpheus.train leaves it, of an untrained tagger: what commands need, without the training."""

import numpy as np

from orpheus import models
from orpheus.data.audio.spec import AudioSpec
from orpheus.data.tags.targets import TagTargets
from orpheus.runs.folder import Run

CLASSES = ("guitar", "drum & bass", "été", "slow")


def make_run(folder, spec: AudioSpec, *, classes=CLASSES, seconds=2.6, mixed=False, network=None) -> Run:
    """A run whose scores differ from clip to clip and class to class.

    Args:
        folder: Where the run's folder goes.
        spec: Of the records that it says it was trained on, which are nowhere.
        classes: Names.
        seconds: Length of a window.
        mixed: A model that computes in bfloat16.
        network: Of `models.FRONTENDS`; None for the one called after the spec's format.
    """
    import keras

    run = Run.create(folder, spec.format, command=["test"])
    sizes = {"n_filters": 4 if network else 1, "n_dense_units": 8}
    run.write("config", {"model": {"frontend": network, **sizes}, "model-training": {"window_length": seconds}})
    run.write("spec", spec.to_json())
    run.write("classes", TagTargets(classes, {name: i for i, name in enumerate(classes)}).to_json())
    run.write(
        "run",
        {
            "task": "tagging",
            "frontend": spec.format,
            "tfrecords_dir": "nowhere",
            "database": 0,
            "tag_names": [],
            "split": {"train": [], "valid": [], "test": []},
        },
    )
    keras.config.set_dtype_policy("mixed_bfloat16" if mixed else "float32")
    try:
        model = models.build(network or spec.format, spec.window_shape(seconds), len(classes), **sizes)
    finally:
        keras.config.set_dtype_policy("float32")
    rng = np.random.default_rng(0)
    model.set_weights([w + rng.normal(0, 0.05, w.shape) if w.min() < w.max() else w for w in model.get_weights()])
    model.save(run.model_path)
    return run
