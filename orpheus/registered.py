"""Makes Keras know the classes that model.keras files name, as soon as both keras and orpheus are imported.

`keras.models.load_model` finds custom classes by a register that the modules defining them fill. `import orpheus` must
stay light (every command's --help does it), so those modules are imported when keras is, whichever comes first.
"""

import importlib
import sys

MODULES = (
    "orpheus.models.layers",
    "orpheus.learning.losses",
    "orpheus.learning.metrics",
    "orpheus.learning.schedules",
    "orpheus.learning.triplets",
)


def register() -> None:
    """Import every module that registers a class. Loads TensorFlow."""
    for name in MODULES:
        importlib.import_module(name)


def with_keras() -> None:
    """`register`, now where keras is imported already, else right after it is."""
    keras = sys.modules.get("keras")
    if keras is None:
        sys.meta_path.insert(0, _WhenKerasIs())  # type: ignore[arg-type]  # importlib.abc would cost 15 ms
    elif not getattr(getattr(keras, "__spec__", None), "_initializing", False):
        register()


class _WhenKerasIs:
    """Lets the other finders find keras and waits for the end of its import."""

    def find_spec(self, fullname, path=None, target=None):
        if fullname != "keras":
            return None
        for finder in sys.meta_path:
            spec = None if finder is self else finder.find_spec(fullname, path, target)
            if spec is not None and spec.loader is not None:
                spec.loader = _ThenRegister(spec.loader, self)
                return spec
        return None


class _ThenRegister:
    """The loader it stands before, which takes its place again before keras' own code runs."""

    def __init__(self, loader, finder):
        self.loader, self.finder = loader, finder

    def create_module(self, spec):
        return self.loader.create_module(spec)

    def exec_module(self, module):
        sys.meta_path.remove(self.finder)  # not when keras is looked for: TensorFlow does that without importing it
        module.__spec__.loader = module.__loader__ = self.loader
        self.loader.exec_module(module)
        register()
