"""Makes Keras know the classes that model.keras files name.

`keras.models.load_model` finds custom classes by a register that the modules defining them fill when they are imported.
`orpheus.load` and every command see to it; a program of one's own that calls Keras itself does ``import orpheus.models``.
"""

import importlib

MODULES = (
    "orpheus.models.joint",
    "orpheus.models.layers",
    "orpheus.models.networks.attention",
    "orpheus.models.networks.harmonic",
    "orpheus.learning.engine.optimizers",
    "orpheus.learning.engine.schedules",
    "orpheus.learning.evaluation.tag_auc",
    "orpheus.learning.losses.joint",
    "orpheus.learning.losses.pointwise",
    "orpheus.learning.losses.triplet",
)


def register() -> None:
    """Import every module that registers a class. Loads TensorFlow."""
    for name in MODULES:
        importlib.import_module(name)
