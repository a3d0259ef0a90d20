"""Seconds of audio preprocessed in a second, per worker: ours and the reference's way, file to serialised record.

One worker is one thread of one process. Without --data the files are synthesised: stereo mp3 at 44.1 kHz. The reference
loads with librosa (all at once, resampled), takes librosa's mel spectrogram in decibels, and stores a list of floats.
"""

import argparse
import itertools
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks import common
from orpheus.base import cli
from orpheus.errors import DataError

FORMATS = ("log-mel-spectrogram", "waveform")


def parser() -> cli.Parser:
    result = common.parser("preprocessing", __doc__, example="--data ~/music --files 20")
    result.add_argument("--data", metavar="DIR", help="folder of audio files to use instead, searched to any depth")
    result.add_argument("--files", type=int, default=8, help="files in a round")
    result.add_argument("--seconds", type=float, default=30.0, help="length of synthesised files")
    result.add_argument("--formats", nargs="+", choices=FORMATS, default=list(FORMATS), help="records to make")
    result.add_argument("--repeats", type=int, default=5, help="rounds after one that does not count")
    return result


def measure(arguments: argparse.Namespace) -> list[common.Row]:
    """All rows of this benchmark."""
    import soundfile
    import threadpoolctl

    rows = []
    with tempfile.TemporaryDirectory() as temporary, threadpoolctl.threadpool_limits(1):
        if arguments.data:
            paths = _found(Path(arguments.data).expanduser(), arguments.files)
        else:
            paths = synthesise(Path(temporary), files=arguments.files, seconds=arguments.seconds)
        seconds = sum(soundfile.info(path).duration for path in paths)
        kinds = f"{len(paths)} x {', '.join(sorted({path.suffix[1:] for path in paths}))}"
        for kind in arguments.formats:
            candidates = {
                name: common.Candidate(_each(function, paths), seconds, arguments.repeats)
                for name, function in ways(kind).items()
            }
            rates = common.interleaved(candidates)
            rows += common.compared("preprocessing", f"{kind}, {kinds}", rates, unit="s of audio/s")
    return rows


def ways(kind: str) -> dict[str, Callable[[Path], object]]:
    """Name → a function of a file; ours first, reading the samples alone last."""
    import soundfile

    from benchmarks.pipeline import older_record
    from orpheus.data.audio import reading
    from orpheus.data.audio.spec import AudioSpec
    from orpheus.data.records import format

    spec, tags = AudioSpec(kind), ["rock", "female vocalists", "80s"]
    return {
        "orpheus": lambda path: format.encode("TR", reading.load(path, spec), [tags]),
        "reference's way (librosa, list of floats)": lambda path: older_record(
            "TR", by_librosa(path, spec).ravel(), tags
        ),
        "librosa, our record": lambda path: format.encode("TR", stored(by_librosa(path, spec), spec), [tags]),
        "limit: decoding alone": lambda path: soundfile.read(path, dtype="float32"),
    }


def by_librosa(path: Path, spec):
    """A file as the reference has it: samples, or decibels with bands first; float32."""
    import librosa

    samples, _ = librosa.load(path, sr=spec.sample_rate)
    if spec.format == "waveform":
        return samples
    power = librosa.feature.melspectrogram(
        y=samples, sr=spec.sample_rate, n_fft=spec.n_fft, hop_length=spec.hop_length, n_mels=spec.n_mels
    )
    return librosa.power_to_db(power, top_db=None)


def stored(values, spec):
    """The reference's values as our records store them."""
    import numpy as np

    from orpheus.data.audio.spec import DECIBEL_FLOOR

    if spec.format == "waveform":
        return np.clip(np.rint(values * 32768), -32768, 32767).astype(spec.dtype)
    return (values.T - DECIBEL_FLOOR).astype(spec.dtype)


def _each(function: Callable[[Path], object], paths: Sequence[Path]) -> Callable[[], None]:
    def step() -> None:
        for path in paths:
            function(path)

    return step


def _found(folder: Path, count: int) -> list[Path]:
    """The first audio files of a folder that can be opened, in order of their names."""
    import soundfile

    from orpheus.data.audio.reading import AUDIO_SUFFIXES

    def readable(path: Path) -> bool:
        try:
            return path.suffix.lower() in AUDIO_SUFFIXES and soundfile.info(path).frames > 0
        except soundfile.LibsndfileError:
            return False

    paths = list(itertools.islice(filter(readable, sorted(folder.rglob("*"))), count))
    if not paths:
        raise DataError(f"{folder}: no audio file in it that libsndfile reads")
    return paths


def synthesise(folder: Path, *, files: int, seconds: float, seed: int = 0) -> list[Path]:
    """Write stereo mp3 files: a few drifting partials over noise, loud and quiet."""
    import numpy as np
    import soundfile

    rng = np.random.default_rng(seed)
    rate, paths = 44100, []
    time = np.arange(int(seconds * rate)) / rate
    for index in range(files):
        left, right = rng.normal(size=(2, len(time))) * 0.02
        for frequency in rng.uniform(80, 5000, size=6):
            left += 0.1 * np.sin(2 * np.pi * frequency * time) * (1 + np.sin(2 * np.pi * rng.uniform(0.2, 4) * time))
            right += 0.1 * np.sin(2 * np.pi * (frequency + 1) * time)
        paths.append(folder / f"{index:03d}.mp3")
        soundfile.write(paths[-1], np.clip(np.stack([left, right], axis=1), -1, 1).astype(np.float32), rate)
    return paths


def main(argv: list[str] | None = None) -> int:
    return common.main(parser(), measure, argv)


if __name__ == "__main__":
    sys.exit(main())
