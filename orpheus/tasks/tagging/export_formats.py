"""SavedModel, TFLite and ONNX: a graph from samples to tags, written with what describes it, and read back."""

import json
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from orpheus.errors import ConfigError, DataError

ABOUT = "orpheus.json"
OPSET = 17
_INSTALL = "pip install onnx==1.18.0 tf2onnx==1.17.0 onnxruntime==1.23.2"
Runner = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Graph:
    """What is written.

    Attributes:
        window: (batch, samples) float32 → (batch, classes) float32.
        track: (samples,) of any length → ``{"mean": (classes,), "scores": (windows, classes), "starts": (windows,)}``.
        samples: Of a window.
        variables: That the functions use.
    """

    window: Callable[[Any], Any]
    track: Callable[[Any], dict[str, Any]]
    samples: int
    variables: list[tf.Variable]

    def module(self, batch: int | None) -> tuple[tf.Module, Any]:
        """A module that holds the variables, and the window as a graph for this batch size (None for any)."""
        module = tf.Module()
        module.held = self.variables
        signature = [tf.TensorSpec([batch, self.samples], tf.float32, name="audio")]
        module.window = tf.function(lambda audio: {"tags": self.window(audio)}, input_signature=signature)
        return module, module.window


def write_savedmodel(graph: Graph, path: Path, about: dict) -> None:
    """A SavedModel folder with the signatures ``serving_default``, ``track`` and ``about``.

    ``about`` takes nothing and gives ``classes``, ``thresholds``, ``sample_rate``, ``samples`` and ``json``, which holds
    all of `about`; that is in assets.extra/orpheus.json too.
    """
    module, window = graph.module(None)
    audio = [tf.TensorSpec([None], tf.float32, name="audio")]
    module.track = tf.function(graph.track, input_signature=audio)
    described = {
        "classes": tf.constant(about["classes"]),
        "thresholds": tf.constant(about["thresholds"], tf.float32),
        "sample_rate": tf.constant(about["sample_rate"]),
        "samples": tf.constant(about["samples"]),
        "json": tf.constant(json.dumps(about, ensure_ascii=False)),
    }
    module.about = tf.function(
        lambda: {key: tf.identity(value) for key, value in described.items()}, input_signature=[]
    )
    signatures = {"serving_default": window, "track": module.track, "about": module.about}
    tf.saved_model.save(
        module, str(path), signatures={name: f.get_concrete_function() for name, f in signatures.items()}
    )
    (path / "assets.extra").mkdir()
    (path / "assets.extra" / ABOUT).write_text(_json(about), encoding="utf-8")


def read_savedmodel(path: Path) -> tuple[Runner, dict]:
    """(windows → tags, about) of what `write_savedmodel` wrote."""
    module = tf.saved_model.load(str(path))
    window = module.signatures["serving_default"]

    def run(audio: np.ndarray) -> np.ndarray:
        return window(audio=tf.constant(audio, tf.float32))["tags"].numpy()

    run.module = module  # type: ignore[attr-defined]  # the graphs live as long as what loaded them
    return run, json.loads(module.signatures["about"]()["json"].numpy().decode())


def write_tflite(graph: Graph, path: Path, about: dict) -> None:
    """A TFLite file of one window, builtin operators only; labels.txt and orpheus.json in a zip behind it.

    That is where TFLite's own metadata library puts files: interpreters do not look behind the model, and any zip
    reader finds them.
    """
    module, window = graph.module(1)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([window.get_concrete_function()], module)
    content = _quietly(converter.convert)
    path.write_bytes(content)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("labels.txt", "\n".join(about["classes"]) + "\n")
        archive.writestr(ABOUT, _json(about))


def read_tflite(path: Path) -> tuple[Runner, dict]:
    """(windows → tags, about) of what `write_tflite` wrote."""
    with zipfile.ZipFile(path) as archive:
        about = json.loads(archive.read(ABOUT))
    interpreter = tf.lite.Interpreter(str(path), num_threads=2)
    window = interpreter.get_signature_runner("serving_default")

    def run(audio: np.ndarray) -> np.ndarray:
        return np.concatenate([window(audio=row[None].astype(np.float32))["tags"] for row in audio])

    return run, about


def write_onnx(graph: Graph, path: Path, about: dict) -> None:
    """An ONNX file, any batch size; every value of `about` is in its metadata_props, lists as JSON.

    Raises:
        ConfigError: tf2onnx is not installed.
    """
    try:
        import onnx
        import tf2onnx
    except ImportError as error:
        raise ConfigError(f"--format onnx needs {error.name}: {_INSTALL}") from None
    _, window = graph.module(None)
    model, _ = _quietly(
        lambda: tf2onnx.convert.from_function(window, input_signature=window.input_signature, opset=OPSET)
    )
    (output,) = model.graph.output
    for node in model.graph.node:
        node.output[:] = ["tags" if name == output.name else name for name in node.output]
    output.name = "tags"
    values = {
        key: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False) for key, value in about.items()
    }
    onnx.helper.set_model_props(model, values)
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())


def read_onnx(path: Path) -> tuple[Runner, dict]:
    """(windows → tags, about) of what `write_onnx` wrote."""
    try:
        import onnxruntime
    except ImportError as error:
        raise ConfigError(f"--format onnx needs {error.name}: {_INSTALL}") from None
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    props = session.get_modelmeta().custom_metadata_map

    def run(audio: np.ndarray) -> np.ndarray:
        return session.run(["tags"], {"audio": audio.astype(np.float32)})[0]

    return run, {key: _value(text) for key, text in props.items()}


WRITERS = {"savedmodel": write_savedmodel, "tflite": write_tflite, "onnx": write_onnx}
READERS = {"savedmodel": read_savedmodel, "tflite": read_tflite, "onnx": read_onnx}


def read(path: str | Path) -> tuple[Runner, dict]:
    """What `orpheus.export` wrote, run by the format's own runtime.

    Args:
        path: The folder of a SavedModel, or a .tflite or .onnx file.

    Returns:
        (windows → tags, what describes it): (batch, samples) float32 → (batch, classes) float32.

    Raises:
        DataError: it is none of them, or damaged.
    """
    path = Path(path)
    for name, reader in READERS.items():
        if (name == "savedmodel" and (path / "saved_model.pb").is_file()) or path.suffix == f".{name}":
            try:
                return reader(path)
            except ConfigError:  # the runtime is not installed
                raise
            except Exception as error:  # each runtime has errors of its own
                said = (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
                raise DataError(f"{path}: not a {name} file that orpheus.export wrote, or damaged ({said})") from error
    raise DataError(f"{path}: neither the folder of a SavedModel nor a .tflite or .onnx file")


def _json(about: dict) -> str:
    return json.dumps(about, indent=2, ensure_ascii=False) + "\n"


def _value(text: str) -> Any:
    """The inverse of how `write_onnx` stores a value: text that is no JSON is text."""
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def _quietly(work: Callable[[], Any]) -> Any:
    """Call converters whose Python and C++ parts log pages of what is of no use here."""
    import logging

    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        return work()
    finally:
        logging.disable(level)
