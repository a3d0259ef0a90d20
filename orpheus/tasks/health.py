"""What a computer needs to run orpheus, tried out one thing after the other: each with what is wrong and the cure."""

import importlib
import importlib.metadata
import importlib.util
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from orpheus.base import files
from orpheus.data.audio import ffmpeg as ffmpeg_decoder
from orpheus.errors import DataError

OK, WARNING, BROKEN = "ok", "warning", "broken"
# Distribution → module. The versions they were tested at are those that the package itself requires.
NEEDED = {
    "tensorflow": "tensorflow",
    "keras": "keras",
    "numpy": "numpy",
    "scipy": "scipy",
    "librosa": "librosa",
    "soundfile": "soundfile",
    "soxr": "soxr",
    "scikit-learn": "sklearn",
    "pydantic": "pydantic",
    "tqdm": "tqdm",
    "matplotlib": "matplotlib",
    "mutagen": "mutagen",
    "gensim": "gensim",
    "faiss-cpu": "faiss",
    "implicit": "implicit",
    "h5py": "h5py",
    "tensorboard": "tensorboard",
}
OPTIONAL = {
    "tensorflow-io": "s3:// paths",
    "s3fs": "s3:// paths without tensorflow-io",
    "tensorflow-hub": "TF-Hub word vectors",
    "onnx": "orpheus.export --format onnx",
    "tf2onnx": "orpheus.export --format onnx",
    "onnxruntime": "orpheus.export --format onnx",
    "apache-beam": "tools.preprocess --runner beam",
    "fastapi": "orpheus.serve",
    "uvicorn": "orpheus.serve",
}
VARIABLES = (
    "CUDA_VISIBLE_DEVICES",
    "KERAS_BACKEND",
    "LD_LIBRARY_PATH",
    "OMP_NUM_THREADS",
    "PYTHONHASHSEED",
    "TF_CONFIG",
    "TF_DETERMINISTIC_OPS",
    "TF_ENABLE_ONEDNN_OPTS",
    "TF_NUM_INTEROP_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "TF_USE_LEGACY_KERAS",
    "XLA_FLAGS",
)
_IMPORT_ERRORS = (ImportError, OSError, AttributeError, RuntimeError, TypeError, ValueError, SystemError)
_INSTALL = "pip install -r requirements.txt"
_LITTLE_SPACE = 2e9  # bytes
_DEVICE_SECONDS = 300


@dataclass(frozen=True)
class Check:
    """One thing that was tried.

    Attributes:
        name: Of the thing.
        status: ``"ok"``, ``"warning"`` (something that not everybody needs) or ``"broken"``.
        found: What was found.
        cure: What to do; empty where nothing is wrong.
    """

    name: str
    status: str
    found: str
    cure: str = ""


def examine(folders: Sequence[str | os.PathLike], *, progress: Callable = lambda items: items) -> list[Check]:
    """Try everything.

    Args:
        folders: That should be writable.
        progress: Wraps the list of steps.
    """
    steps: list[Callable[[], Iterator[Check]]] = [
        system,
        packages,
        keras_settings,
        tensorflow_io,
        libsndfile,
        ffmpeg,
        lambda: writable(folders),
        devices,
    ]
    return [check for step in progress(steps) for check in step()]


def system() -> Iterator[Check]:
    """Python, platform, processors, memory and variables of the environment: facts for a bug report."""
    version = sys.version_info[:2]
    fits = (3, 10) <= version <= (3, 13)
    cure = "" if fits else "install Python 3.10, 3.11, 3.12 or 3.13: requirements.txt has no TensorFlow for this one"
    yield Check("python", OK if fits else BROKEN, f"{platform.python_version()}, {sys.executable}", cure)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9 if hasattr(os, "sysconf") else float("nan")
    yield Check("system", OK, f"{platform.platform()}, {cores} cores, {memory:.0f} GB")
    values = [f"{name}={os.environ[name]}" for name in VARIABLES if name in os.environ]
    yield Check("environment", OK, " ".join(values) or "none of TensorFlow's variables is set")


def pins() -> dict[str, str]:
    """Distribution → the version that orpheus was tested with on this Python."""
    try:
        wanted = importlib.metadata.requires("orpheus-music") or []
    except importlib.metadata.PackageNotFoundError:
        path = Path(__file__).resolve().parents[2] / "requirements.txt"
        wanted = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    found = {}
    for line in wanted:
        match = re.match(r"([\w.-]+)==([\w.]+)\s*(?:;\s*(.*))?$", line.strip())
        if match and _applies(match[3] or ""):
            found[match[1].lower()] = match[2]
    return found


def _applies(marker: str) -> bool:
    """Whether a requirement's marker, of the kind ``python_version < "3.11"``, is true here."""
    match = re.search(r"python_version\s*(<|>=)\s*[\"']3\.(\d+)[\"']", marker)
    if "extra" in marker or not match:
        return "extra" not in marker
    below = sys.version_info[1] < int(match[2])
    return below if match[1] == "<" else not below


def packages() -> Iterator[Check]:
    """Every package can be imported; versions beside those tested with."""
    tested = pins()
    for name, module in NEEDED.items():
        try:
            importlib.import_module(module)
            version = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            yield Check(name, WARNING, "imported, but installed under another name", f"{_INSTALL} for the tested one")
        except _IMPORT_ERRORS as error:
            if isinstance(error, ModuleNotFoundError) and error.name == module:
                yield Check(name, BROKEN, "not installed", _INSTALL)
                continue
            yield Check(
                name,
                BROKEN,
                f"cannot be imported ({_line(error)})",
                f"pip install --force-reinstall {name}=={tested.get(name, '')}".rstrip("="),
            )
        else:
            yield _version(name, version, tested)
    for name, use in OPTIONAL.items():
        try:
            yield _version(name, importlib.metadata.version(name), tested)
        except importlib.metadata.PackageNotFoundError:
            yield Check(name, OK, f"not installed; only for {use}")


def _version(name: str, version: str, tested: dict[str, str]) -> Check:
    wanted = tested.get(name, version)
    if version == wanted:
        return Check(name, OK, version)
    return Check(name, WARNING, f"{version}, tested with {wanted}", f"pip install {name}=={wanted} if something fails")


def keras_settings() -> Iterator[Check]:
    """Keras runs on TensorFlow, in the defaults that models are built for."""
    if (backend := os.environ.get("KERAS_BACKEND", "tensorflow")) != "tensorflow":
        yield Check("keras backend", BROKEN, backend, "unset the environment variable KERAS_BACKEND")
        return
    try:
        import keras
    except _IMPORT_ERRORS:
        return  # said above
    wanted = {
        "backend": (keras.config.backend(), "tensorflow"),
        "floatx": (keras.config.floatx(), "float32"),
        "image_data_format": (keras.config.image_data_format(), "channels_last"),
    }
    for name, (value, needed) in wanted.items():
        good = value == needed
        yield Check(
            f"keras {name}", OK if good else BROKEN, value, "" if good else f"set it to {needed} in ~/.keras/keras.json"
        )


def tensorflow_io() -> Iterator[Check]:
    """tensorflow-io's native library loads and opens s3://; in a process of its own, which it may take down."""
    if importlib.util.find_spec("tensorflow_io") is None:
        return
    code = (
        "import os, sys, tensorflow as tf, tensorflow_io\n"
        "from tensorflow_io.python.ops import core_ops\n"
        "core_ops.io_audio_decode_wav\n"
        "print('s3' in tf.io.gfile.get_registered_schemes(), flush=True)\n"
        "os._exit(0)"
    )
    done = _python("-c", code)
    if done.returncode == 0 and done.stdout.strip().endswith("True"):
        yield Check("tensorflow-io's library", OK, "loads, and opens s3://")
    else:
        yield Check(
            "tensorflow-io's library",
            WARNING,
            f"does not load ({_last(done)})",
            "pip install tensorflow==2.17.1 tensorflow-io==0.37.1; until then s3fs opens s3://",
        )


def libsndfile() -> Iterator[Check]:
    """libsndfile writes and reads back the formats that music comes in."""
    try:
        import soundfile
    except _IMPORT_ERRORS:
        return  # said above
    known = soundfile.available_formats()
    tone = (0.5 * np.sin(np.arange(8000) / 10)).astype(np.float32)
    good: list[str] = []
    bad: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        for name in ("WAV", "FLAC", "OGG", "MP3"):
            path = Path(folder) / f"tone.{name.lower()}"
            try:
                soundfile.write(path, tone, 16000, format=name)
                (good if len(soundfile.read(path)[0]) >= len(tone) else bad).append(name)
            except (soundfile.LibsndfileError, ValueError, TypeError) as error:
                bad.append(f"{name} ({_line(error)})")
    found = f"{soundfile.__libsndfile_version__}: reads {', '.join(good)}; knows {len(known)} formats"
    cure = "pip install soundfile==0.14.0, whose libsndfile reads mp3"
    yield Check(
        "libsndfile", BROKEN if bad else OK, found + (f"; not {', '.join(bad)}" if bad else ""), cure if bad else ""
    )


def ffmpeg() -> Iterator[Check]:
    """ffmpeg is there for m4a, wma and the like, and decodes."""
    cure = "install ffmpeg (Debian: apt install ffmpeg; macOS: brew install ffmpeg) if there are such files"
    if shutil.which("ffmpeg") is None:
        yield Check("ffmpeg", WARNING, "not installed; m4a, aac, wma and others cannot be read", cure)
        return
    version = subprocess.run(["ffmpeg", "-version"], capture_output=True, text=True).stdout.split("\n")[0]
    listed = subprocess.run(["ffmpeg", "-v", "quiet", "-decoders"], capture_output=True, text=True).stdout
    names = [name for name in ("aac", "alac", "wmav2", "ape", "wavpack", "ac3") if re.search(rf"\b{name}\b", listed)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "silence.m4a"
        made = subprocess.run(
            ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", "anullsrc=r=8000:d=0.5", str(path)],
            capture_output=True,
            text=True,
        )
        try:
            if made.returncode:
                raise DataError(made.stderr.strip().split("\n")[-1])
            with ffmpeg_decoder.decoded(path, "") as pipe:
                samples = sum(len(block) for block, _ in pipe.blocks())
        except DataError as error:
            yield Check("ffmpeg", WARNING, f"{version.split(' Copyright')[0]}, does not work ({_line(error)})", cure)
            return
    yield Check(
        "ffmpeg",
        OK if samples else WARNING,
        f"{version.split(' Copyright')[0]}; decodes {', '.join(names)}",
        "" if samples else cure,
    )


def writable(folders: Sequence[str | os.PathLike]) -> Iterator[Check]:
    """Files can be written, and there is space."""
    for folder in dict.fromkeys(
        str(Path(folder).expanduser().absolute()) for folder in [*folders, tempfile.gettempdir()]
    ):
        path = Path(folder)
        while not path.exists():  # it will be made
            path = path.parent
        probe = path / f".orpheus-doctor-{os.getpid()}"
        try:
            files.write_json(probe, {})
            free = shutil.disk_usage(path).free
        except OSError as error:
            cure = (
                "make it writable, or name another with --set model-training.log_dir=DIR (TMPDIR for the temporary one)"
            )
            yield Check(f"folder {folder}", BROKEN, f"cannot be written ({os.strerror(error.errno or 0)})", cure)
            continue
        finally:
            probe.unlink(missing_ok=True)
        little = free < _LITTLE_SPACE
        yield Check(
            f"folder {folder}",
            WARNING if little else OK,
            f"writable, {free / 1e9:.0f} GB free",
            "free some space" if little else "",
        )


def devices() -> Iterator[Check]:
    """One training step on every device that TensorFlow shows, each in a process of its own."""
    try:
        import tensorflow as tf
    except _IMPORT_ERRORS:
        return  # said above
    names = [device.name.removeprefix("/physical_device:") for device in tf.config.list_physical_devices()]
    for name in [name for name in names if name.startswith(("CPU", "GPU"))]:
        done = _python("-m", "orpheus.doctor", "--device", name)
        if done.returncode:
            cure = (
                "pip install -r requirements-gpu.txt, and look at the driver (nvidia-smi)"
                if "GPU" in name
                else "pip install --force-reinstall tensorflow==2.17.1"
            )
            yield Check(f"training on {name}", BROKEN, f"failed ({_last(done)})", cure)
        else:
            yield Check(f"training on {name}", OK, _last(done))
    if shutil.which("nvidia-smi") and not any(name.startswith("GPU") for name in names):
        yield Check(
            "GPU", WARNING, "nvidia-smi is here, and TensorFlow shows no GPU", "pip install -r requirements-gpu.txt"
        )


def one_step(device: str) -> str:
    """Train a small tagger for a step on a device; says which device, the loss and the time.

    Raises:
        DataError: the loss is not finite.
    """
    import keras
    import tensorflow as tf

    from orpheus import models

    began = time.perf_counter()
    rng = np.random.default_rng(0)
    with tf.device(f"/{device}"):
        model = models.build("log-mel-spectrogram", (16, 8), 3, n_filters=1, n_dense_units=4)
        model.compile("adam", keras.losses.BinaryCrossentropy(), jit_compile=False)
        loss = float(model.train_on_batch(rng.normal(size=(4, 16, 8)).astype("f4"), np.eye(4, 3, dtype="f4")))
    if not np.isfinite(loss):
        raise DataError(f"{device}: the loss of one step is {loss}")
    details = tf.config.experimental.get_device_details(tf.config.list_physical_devices(device.split(":")[0])[0])
    kind = details.get("device_name", platform.processor() or platform.machine())
    return f"{kind}: one step, loss {loss:.3f}, {time.perf_counter() - began:.1f} s with building"


def to_json(checks: Sequence[Check]) -> str:
    """The checks as JSON: a list of objects."""
    return json.dumps([vars(check) for check in checks], indent=2, ensure_ascii=False)


def to_text(checks: Sequence[Check]) -> str:
    """The checks as lines, cures below what they cure."""
    width = max(len(check.name) for check in checks)
    lines = []
    for check in checks:
        lines.append(f"{check.status:<8} {check.name:<{width}}  {check.found}")
        if check.cure:
            lines.append(f"{'':<8} {'':<{width}}  -> {check.cure}")
    count = {status: sum(check.status == status for check in checks) for status in (WARNING, BROKEN)}
    return "\n".join([*lines, f"{count[BROKEN]} broken, {count[WARNING]} warnings"])


def _python(*words: str) -> subprocess.CompletedProcess:
    environment = {"TF_CPP_MIN_LOG_LEVEL": "3", **os.environ}
    try:
        return subprocess.run(
            [sys.executable, *words], capture_output=True, text=True, timeout=_DEVICE_SECONDS, env=environment
        )
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(words, 1, "", f"still not done after {_DEVICE_SECONDS} s")


def _last(done: subprocess.CompletedProcess) -> str:
    """The last line that a process printed, of its errors where it failed."""
    text = done.stderr if done.returncode else done.stdout
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:200] if lines else f"exit code {done.returncode}"


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
