"""Models: shapes in, a Keras model out. Importing this registers every class that model.keras files name.

Two doors: `build` makes a tagger of audio, `build_modalities` a network of several inputs.
"""

from orpheus.base import keras_registration
from orpheus.models import layers
from orpheus.models.modalities.network import build_modalities
from orpheus.models.networks import FRONTENDS
from orpheus.models.tagger import build, minimum_window

__all__ = ["FRONTENDS", "build", "build_modalities", "layers", "minimum_window"]

keras_registration.register()
