"""The published taggers that a run folder can be made of: their facts, and the wheel that carries them.

They are those of the Python package musicnn 0.1.0 (Pons & Serra 2019, arXiv 1909.06654; ISC licence). The wheel is read
as an archive: nothing in it is imported or run.
"""

import ast
import functools
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from orpheus.base import files
from orpheus.data.audio.spec import LOG_MEL, AudioSpec
from orpheus.errors import ConfigError, DataError

REQUIREMENT = "musicnn==0.1.0"
WHEEL = "musicnn-0.1.0-py3-none-any.whl"
SHA256 = "f38a4890c648c1ddbb141c5d96d2b0a8cfcd36746002d896989f7b88beb65cfa"
LICENCE = "musicnn-0.1.0.dist-info/LICENSE.md"
FRAMES, MELS = 187, 96
WINDOW_SECONDS = 2.992  # 187 frames; 3.0 s would be 188
_SIZES = {
    "musicnn": {"frontend": "musicnn", "n_filters": 64, "n_dense_units": 200, "dropout": 0.5},
    "vgg": {"frontend": "vgg", "n_filters": 128, "n_dense_units": 256, "dropout": 0.5},
}


@dataclass(frozen=True)
class Published:
    """One of them.

    Attributes:
        name: As in the wheel, for example MSD_musicnn.
        network: ``"musicnn"`` or ``"vgg"``.
        labels: The list of the wheel's configuration.py that names its outputs.
        trained_on: Data set.
        published: ROC-AUC and PR-AUC that its author measured on that data set's test tracks.
        scores: (50,) what the original graph gives for `example`, to 5 decimals.
    """

    name: str
    network: str
    labels: str
    trained_on: str
    published: dict[str, float]
    scores: tuple[float, ...]


@functools.cache
def models() -> dict[str, Published]:
    """All of them by name."""
    facts = json.loads(Path(__file__).with_suffix(".json").read_text(encoding="utf-8"))
    return {name: Published(name, **{**fact, "scores": tuple(fact["scores"])}) for name, fact in facts.items()}


def find(name: str) -> Published:
    """The one of that name.

    Raises:
        ConfigError: there is none.
    """
    if name not in models():
        raise ConfigError(f"{name}: no such pretrained tagger; there are {', '.join(models())}")
    return models()[name]


def example() -> np.ndarray:
    """Made-up stored decibels, (187, 96) float32: beats every half second and partials that glide.

    What the original graphs give for it is in `Published.scores`; a network that was put together otherwise gives
    something else.
    """
    frame, mel = np.arange(FRAMES)[:, None], np.arange(MELS)[None]
    beat = np.exp(-(frame % 31) / 8.0)
    partials = np.cos(2 * np.pi * (mel / 8.0 + np.sin(2 * np.pi * frame / 93.0)))
    return (60 + 12 * beat + 14 * partials - 0.35 * mel).astype(np.float32)


def config(model: Published) -> dict:
    """What config.json of its run says; its section model has the arguments of `orpheus.models.build`."""
    return {
        "model": _SIZES[model.network],
        "model-training": {"window_length": WINDOW_SECONDS, "whole_windows": True},
        "tfrecords": {"n_mels": MELS, "sample_rate": 16000, "n_fft": 512, "hop_length": 256},
    }


def spec() -> AudioSpec:
    """The audio that all of them take; of float16 decibels they change a score by up to 0.002."""
    return AudioSpec(LOG_MEL, sample_rate=16000, n_fft=512, hop_length=256, n_mels=MELS, dtype="float32")


def about(model: Published) -> dict:
    """run.json: a tagger that was trained on no records of ours."""
    return {
        "version": 1,
        "task": "tagging",
        "frontend": LOG_MEL,
        "network": model.network,
        "tfrecords_dir": None,
        "database": 0,
        "tag_names": [],
        "split": {"train": [], "valid": [], "test": []},
        "pretrained": {
            "name": model.name,
            "trained_on": model.trained_on,
            "published": model.published,
            "package": REQUIREMENT,
            "sha256": SHA256,
            "licence": "ISC",
        },
    }


def fetch(wheel: str | os.PathLike | None = None) -> Path:
    """The wheel: the file given, the one downloaded before, or a download by pip; its SHA-256 is checked.

    Args:
        wheel: A file; None to download it into ``$XDG_CACHE_HOME/orpheus`` (``~/.cache/orpheus``).

    Raises:
        DataError: it cannot be had, or is another file than the one these facts are of.
    """
    if wheel is not None:
        return _checked(Path(wheel).expanduser())
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "orpheus"
    if not (cache / WHEEL).is_file():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as folder:
            command = [sys.executable, "-m", "pip", "download", REQUIREMENT, "--no-deps", "--quiet", "--dest", folder]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode or not (Path(folder) / WHEEL).is_file():
                reason = (done.stderr.strip().splitlines() or ["pip brought another file"])[-1]
                raise DataError(
                    f"{REQUIREMENT}: cannot be downloaded ({reason}); on a machine with a network: pip download "
                    f"{REQUIREMENT} --no-deps, then give --wheel {WHEEL}"
                )
            os.replace(_checked(Path(folder) / WHEEL), cache / WHEEL)
    return _checked(cache / WHEEL)


def _checked(path: Path) -> Path:
    if not path.is_file():
        raise DataError(f"{path}: no such file; pip download {REQUIREMENT} --no-deps makes it")
    if (found := files.content_hash(path)) != SHA256:
        raise DataError(
            f"{path}: SHA-256 {found[:12]}…, and {WHEEL} has {SHA256[:12]}…; pip download {REQUIREMENT} --no-deps"
        )
    return path


def labels(wheel: Path, model: Published) -> tuple[str, ...]:
    """Names of a model's outputs, in their order, read from the text of the wheel's configuration.py."""
    with zipfile.ZipFile(wheel) as archive:
        tree = ast.parse(archive.read("musicnn/configuration.py").decode())
    for node in tree.body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", None) == model.labels:
            return tuple(ast.literal_eval(node.value))
    raise DataError(f"{wheel}: musicnn/configuration.py has no {model.labels}")


def licence(wheel: Path) -> str:
    """The text of the wheel's licence."""
    with zipfile.ZipFile(wheel) as archive:
        return archive.read(LICENCE).decode()


def extract(wheel: Path, model: Published, folder: str | os.PathLike) -> Path:
    """Copy a model's checkpoint out of the wheel.

    The wheel's own file ``checkpoint`` holds a path of the author's machine, so the files get a name without it.

    Returns:
        The prefix that `tf.train.load_checkpoint` takes.
    """
    prefix = Path(folder) / "model"
    with zipfile.ZipFile(wheel) as archive:
        for ending in ("index", "data-00000-of-00001"):
            with archive.open(f"musicnn/{model.name}/.{ending}") as source, open(f"{prefix}.{ending}", "wb") as target:
                shutil.copyfileobj(source, target)
    return prefix
