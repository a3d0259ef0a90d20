"""The two networks of Pons et al. 2018, "End-to-end learning for music audio tagging at scale" (arXiv 1711.02520)."""

from orpheus.models import backend, frontends
from orpheus.models.layers import StandardiseExample


def waveform(audio, *, n_filters: int, n_dense_units: int, dropout: float, seed: int, synchronized: bool):
    """Seven convolutions on standardised samples (`frontends.waveform`), then the shared backend.

    Args:
        audio: (batch, samples) of any scale, at least 19,680; the level is not heard.
        n_filters: Not used: the widths of this network are fixed at 64 to 256.
        n_dense_units: Units of the embedding, 500 as published.
        dropout: Share of the pooled features dropped in training, 0 to below 1.
        seed: The model's seed.
        synchronized: Whether batch statistics are shared across replicas.

    Returns:
        (batch, n_dense_units), the output of the layer called ``embedding``.
    """
    x = StandardiseExample(name="standardise")(audio)
    x = frontends.waveform(x, n_filters=n_filters, seed=seed, synchronized=synchronized)
    return backend.backend(x, n_dense_units=n_dense_units, dropout=dropout, seed=seed, synchronized=synchronized)


def log_mel(audio, *, n_filters: int, n_dense_units: int, dropout: float, seed: int, synchronized: bool):
    """Timbral and temporal filters on a standardised spectrogram (`frontends.log_mel`), then the shared backend.

    Args:
        audio: (batch, frames, mels), decibels above the floor, at least 8 frames and 3 mels; the level is not heard.
        n_filters: Filters of the narrowest filter, 16 as published; the others have multiples.
        n_dense_units: Units of the embedding, 500 as published.
        dropout: Share of the pooled features dropped in training, 0 to below 1.
        seed: The model's seed.
        synchronized: Whether batch statistics are shared across replicas.

    Returns:
        (batch, n_dense_units), the output of the layer called ``embedding``.
    """
    x = StandardiseExample(name="standardise")(audio)
    x = frontends.log_mel(x, n_filters=n_filters, seed=seed, synchronized=synchronized)
    return backend.backend(x, n_dense_units=n_dense_units, dropout=dropout, seed=seed, synchronized=synchronized)
