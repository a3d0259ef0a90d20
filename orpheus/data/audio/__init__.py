"""Audio files and what is stored of them. The names that other programs import are here."""

from orpheus.data.audio.spec import FORMATS, LOG_MEL, WAVEFORM, AudioSpec

__all__ = ["FORMATS", "LOG_MEL", "WAVEFORM", "AudioSpec"]
