"""The table of networks: what a tagger, or a retrieval tower, can be made of between stored audio and the embedding.

A network is a function ``(audio, *, n_filters, n_dense_units, dropout, seed, synchronized) → (batch, n_dense_units)``.
It takes audio as stored (float32 of int16 samples, or of decibels above a floor of -100 dB; 0 is silence and padding),
owns its first layer, and ends in the layer called ``embedding``; a pooled vector before it is called ``pooled``.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from orpheus.errors import ConfigError
from orpheus.models import backend, frontends
from orpheus.models.networks import (
    crnn,
    fcn,
    harmonic,
    musicnn,
    pons,
    sample_level,
    self_attention,
    short_chunk,
    spectrogram_transformer,
    vgg,
)

WAVEFORM, LOG_MEL = "waveform", "log-mel-spectrogram"


@dataclass(frozen=True)
class Frontend:
    """A network's line in the table.

    Attributes:
        format: Of the records that it takes, ``"waveform"`` or ``"log-mel-spectrogram"``.
        build: The function that makes it.
        paper: First author, year and arXiv number or journal.
        n_filters: The paper's, where config.json gives none.
        n_dense_units: The paper's units of the embedding, where config.json gives none.
        shortest: Samples or frames of the shortest window that it takes.
        longest: Of the longest; None: any.
        fewest_mels: Of the spectrogram.
        hears_level: Whether a louder window gives other tags: then a change of gain augments, and samples must be
            stored as int16, whose full scale is known.
    """

    format: str
    build: Callable[..., Any]
    paper: str
    n_filters: int
    n_dense_units: int
    shortest: int = 1
    longest: int | None = None
    fewest_mels: int = 1
    hears_level: bool = True


FRONTENDS: dict[str, Frontend] = {
    "waveform": Frontend(
        WAVEFORM,
        pons.waveform,
        "Pons et al. 2018, arXiv 1711.02520",
        16,
        500,
        hears_level=False,
        shortest=frontends.waveform_samples(backend.MINIMUM_STEPS),
    ),
    "log-mel-spectrogram": Frontend(
        LOG_MEL,
        pons.log_mel,
        "Pons et al. 2018, arXiv 1711.02520",
        16,
        500,
        hears_level=False,
        shortest=backend.MINIMUM_STEPS,
        fewest_mels=frontends.MINIMUM_MELS,
    ),
    "musicnn": Frontend(
        LOG_MEL, musicnn.musicnn, "Pons & Serra 2019, arXiv 1909.06654", 64, 200, fewest_mels=musicnn.FEWEST_MELS
    ),
    "vgg": Frontend(
        LOG_MEL,
        vgg.vgg,
        "Pons & Serra 2019, arXiv 1909.06654",
        128,
        256,
        shortest=vgg.SHORTEST_FRAMES,
        longest=vgg.LONGEST_FRAMES,
        fewest_mels=vgg.FEWEST_MELS,
    ),
    "fcn": Frontend(LOG_MEL, fcn.fcn, "Choi et al. 2016, arXiv 1606.00298", 64, 64),
    "crnn": Frontend(LOG_MEL, crnn.crnn, "Choi et al. 2017, arXiv 1609.04243", 64, 32),
    "sample-level": Frontend(WAVEFORM, sample_level.sample_level, "Lee et al. 2017, arXiv 1703.01789", 128, 512),
    "sample-level-se": Frontend(WAVEFORM, sample_level.sample_level_se, "Kim et al. 2018, arXiv 1710.10451", 128, 512),
    "short-chunk": Frontend(LOG_MEL, short_chunk.short_chunk, "Won et al. 2020, arXiv 2006.00751", 128, 512),
    "short-chunk-residual": Frontend(
        LOG_MEL, short_chunk.short_chunk_residual, "Won et al. 2020, arXiv 2006.00751", 128, 512
    ),
    "self-attention": Frontend(LOG_MEL, self_attention.self_attention, "Won et al. 2019, arXiv 1906.04972", 128, 256),
    "harmonic": Frontend(WAVEFORM, harmonic.harmonic, "Won et al. 2020, ICASSP", 128, 256),
    "spectrogram-transformer": Frontend(
        LOG_MEL,
        spectrogram_transformer.spectrogram_transformer,
        "after Gong et al. 2021, arXiv 2104.01778",
        192,
        192,
        shortest=spectrogram_transformer.PATCH,
        fewest_mels=spectrogram_transformer.PATCH,
    ),
}


def find(name: str, *, format: str | None = None, dtype: str | None = None, key: str = "frontend") -> Frontend:
    """A network of the table, seen to fit records.

    Args:
        name: Of the network.
        format: Of the records; None: not known.
        dtype: That the records are stored in; None: not known.
        key: What the errors call it.

    Raises:
        ConfigError: no such network, or one for other records; names the cure.
    """
    if name not in FRONTENDS:
        raise ConfigError(f"{key}={name!r}: no such network; available are {', '.join(FRONTENDS)}")
    found = FRONTENDS[name]
    if format not in (None, found.format):
        fitting = ", ".join(other for other, one in FRONTENDS.items() if one.format == format)
        raise ConfigError(
            f"{key}={name}: takes {found.format} records, and these are {format}; make others with tools.preprocess "
            f"{found.format}, or choose one of {fitting}"
        )
    if dtype == "float32" and found.format == WAVEFORM and found.hears_level:
        raise ConfigError(
            f"{key}={name}: hears the level of samples stored as int16, and these are stored as float32; re-run "
            "tools.preprocess without --dtype"
        )
    return found


def check_window(
    name: str, shape: tuple[int, ...], *, window_key: str = "window_length", key: str = "frontend"
) -> None:
    """See that a network takes windows of a shape, (samples,) or (frames, mels).

    Args:
        name: Of the network.
        shape: Of one window.
        window_key: What the errors call its length.
        key: What the errors call the network.

    Raises:
        ConfigError: no such network, another format, a window too short or too long, too few mels.
    """
    if len(shape) not in (1, 2):
        raise ConfigError(f"input_shape={tuple(shape)}: a window is (samples,) or (frames, mels)")
    found = find(name, format=WAVEFORM if len(shape) == 1 else LOG_MEL, key=key)
    unit = "samples" if found.format == WAVEFORM else "frames"
    limits = f"at least {found.shortest} {unit}" if shape[0] < found.shortest else ""
    if found.longest is not None and shape[0] > found.longest:
        limits = f"at most {found.longest} {unit}"
    if limits:
        raise ConfigError(f"{window_key}: a window of {shape[0]} {unit}, and {key}={name} takes {limits}; change it")
    if len(shape) == 2 and shape[1] < found.fewest_mels:
        raise ConfigError(
            f"n_mels={shape[1]}: {key}={name} needs at least {found.fewest_mels}; re-run tools.preprocess with more --mels"
        )
