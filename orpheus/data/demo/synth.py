"""Small synthesisers for the demo dataset: instruments, drums, tempo, mode, register and loudness that can be heard.

Everything is vectorised NumPy and SciPy; a dozen seconds of two instruments and drums take about 50 ms.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.signal import butter, lfilter, oaconvolve, sosfilt

RATE = 22050
"""Samples per second of everything rendered here."""

MAJOR, MINOR = (0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10)
PROGRESSIONS = {True: ((0, 3, 4, 0), (0, 4, 0, 3), (0, 4, 5, 3)), False: ((0, 3, 0, 5), (0, 5, 3, 0), (0, 2, 5, 3))}
TABLE, HARMONICS = 1024, 64
VOWELS = ((800, 1150, 2800), (600, 1500, 2700), (450, 800, 2750), (650, 1080, 2650))
VOWEL_GAINS = (1.0, 0.5, 0.5)


@dataclass(frozen=True)
class Style:
    """What one track sounds like.

    Attributes:
        instruments: Names out of `INSTRUMENTS`, one or more.
        drums: Whether a drum kit plays.
        tempo: Beats per minute.
        major: Major with short detached notes, or minor with notes that ring on.
        tonic: MIDI number of the key note; also the register of all instruments.
        loudness: -1 quiet (dull, soft attacks), 0 medium, 1 loud (driven, bright, dense).
        room: Share of reverberation, 0 to 1.
        tilt: Treble of the production, -1 dull to 1 bright.
    """

    instruments: tuple[str, ...]
    drums: bool
    tempo: float
    major: bool
    tonic: int
    loudness: int
    room: float
    tilt: float


@dataclass(frozen=True)
class _Line:
    """One voice without overlaps: all arrays are (notes,), in samples, MIDI numbers and gains."""

    start: np.ndarray
    held: np.ndarray
    midi: np.ndarray
    accent: np.ndarray
    samples: int

    @property
    def frequency(self) -> np.ndarray:
        return 440.0 * 2.0 ** ((self.midi - 69) / 12)

    def per_sample(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Note index, seconds since its onset and seconds until it is released, each (samples,)."""
        slots = np.diff(np.append(self.start, self.samples))
        note = np.repeat(np.arange(len(self.start)), slots)
        since = np.arange(self.samples) - self.start[note]
        return note, (since / RATE).astype(np.float32), ((self.held[note] - since) / RATE).astype(np.float32)


def render(style: Style, seconds: float, rng: np.random.Generator) -> np.ndarray:
    """Play a style.

    Args:
        style: What to play.
        seconds: Length, > 0.
        rng: Source of the notes, the noise and the stereo picture.

    Returns:
        float32 array (samples, 2) at `RATE`, `round(seconds * RATE)` samples between -1 and 1.
    """
    samples = round(seconds * RATE)
    attack = (3.0, 1.0, 0.5)[style.loudness + 1]
    mix = np.zeros((2, samples), np.float32)
    for position, name in enumerate(style.instruments):
        stem = _level(INSTRUMENTS[name](style, samples, attack, rng))
        angle = np.pi / 4 * (1 + (-1) ** position * rng.uniform(0.1, 0.6))
        gain = rng.uniform(0.9, 1.1) * np.array([[np.cos(angle)], [np.sin(angle)]])
        mix += gain.astype(np.float32) * stem
    if style.drums:
        mix += 1.1 * _level(_drums(style, samples, rng))
    return _master(mix, style, rng).T


def _line(style: Style, samples: int, step: float, voice: int, rng: np.random.Generator, melody: bool) -> _Line:
    """Notes every `step` beats: chord tones in order, or a melody that walks over the scale around them."""
    beat = 60.0 / style.tempo
    count = int(np.ceil(samples / (RATE * step * beat)))
    start = np.round(np.arange(count) * step * beat * RATE).astype(int)
    position = np.arange(count) * step  # in beats; a bar has four
    progressions = PROGRESSIONS[style.major]
    progression = progressions[rng.integers(len(progressions))]
    degree = np.array(progression)[(position // 4).astype(int) % len(progression)]
    if melody:
        degree = degree + np.cumsum(rng.integers(-1, 2, count)) % 5 + voice
    elif step < 1:
        rise = np.arange(count) % 4
        degree = degree + 2 * (rise if style.major else 3 - rise)
    else:
        degree = degree + 2 * voice
    scale = np.array(MAJOR if style.major else MINOR)
    midi = style.tonic + scale[degree % 7] + 12 * (degree // 7 % 2)
    slot = np.diff(np.append(start, round(count * step * beat * RATE)))
    held = np.round(slot * (0.42 if style.major else 0.93)).astype(int)
    accent = np.where(position % 1 == 0, 1.0, 0.7) * rng.uniform(0.85, 1.0, count)
    return _Line(start, held, midi.astype(float), accent, samples)


def _bank(
    line: _Line, spectrum: Callable[[np.ndarray, np.ndarray], np.ndarray], rng: np.random.Generator
) -> np.ndarray:
    """One period per note, (notes, TABLE), band-limited, from amplitudes of (frequency in Hz, harmonic number)."""
    number = np.arange(1, HARMONICS + 1)
    frequency = line.frequency[:, None] * number
    amplitude = np.where(frequency < 0.42 * RATE, spectrum(frequency, number), 0.0)
    amplitude = amplitude / np.sqrt((amplitude**2).sum(axis=1, keepdims=True))
    phase = np.exp(2j * np.pi * rng.random(HARMONICS))
    bins = np.zeros((len(line.midi), TABLE // 2 + 1), complex)
    bins[:, 1 : HARMONICS + 1] = amplitude * phase
    return (np.fft.irfft(bins, TABLE, axis=1) * TABLE).astype(np.float32)


def _oscillate(line: _Line, bank: np.ndarray, note: np.ndarray, bend: np.ndarray | float = 0.0) -> np.ndarray:
    """Read the notes' periods at their pitch, `bend` semitones away from it; phase runs on through the whole line."""
    step = line.frequency[note] / RATE * 2.0 ** (np.asarray(bend) / 12)
    phase = (np.cumsum(step) * TABLE).astype(np.int64) % TABLE
    return bank.ravel()[note * TABLE + phase]


def _envelope(line: _Line, attack: float, release: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Gain with linear attack and release (seconds), the note index and seconds since its onset; each (samples,)."""
    note, since, until = line.per_sample()
    gain = np.clip(since / attack, 0, 1) * np.clip(until / release, 0, 1) * line.accent[note].astype(np.float32)
    return gain, note, since


def _vibrato(since: np.ndarray, rate: float, depth: float, onset: float) -> np.ndarray:
    """Pitch in semitones that swings `depth` at `rate` Hz, growing over `onset` seconds."""
    return depth * np.clip(since / onset, 0, 1) * np.sin(2 * np.pi * rate * since)


def _guitar(style: Style, samples: int, attack: float, rng: np.random.Generator) -> np.ndarray:
    """Plucked string (Karplus & Strong 1983): a noise burst in a delay line that averages as it goes round."""
    line = _line(style, samples, 0.5, 0, rng, melody=False)
    ring = round(1.4 * RATE)
    plucks: dict[float, np.ndarray] = {}
    result = np.zeros(samples, np.float32)
    for start, held, midi, accent in zip(line.start, line.held, line.midi, line.accent, strict=True):
        if midi not in plucks:
            plucks[midi] = _pluck(440.0 * 2.0 ** ((midi - 69) / 12), ring, 0.4 if attack > 1 else 0.85, rng)
        length = min(ring if not style.major else held + 600, ring, samples - start)
        damper = np.clip((length - np.arange(length)) / 600, 0, 1).astype(np.float32)
        result[start : start + length] += accent * damper * plucks[midi][:length]
    return result


def _pluck(frequency: float, length: int, hardness: float, rng: np.random.Generator) -> np.ndarray:
    """One string; the loop's three taps delay by a whole period, fraction included, so that it is in tune."""
    period = RATE / frequency
    delay = int(period - 0.5)
    fraction = period - 0.5 - delay
    burst = np.zeros(length, np.float32)
    noise = rng.uniform(-1, 1, delay).astype(np.float32)
    noise -= noise.mean()  # a constant would ring as long as the string
    burst[:delay] = lfilter(*np.array([[hardness, 0], [1, hardness - 1]], np.float32), noise)[: min(delay, length)]
    feedback = np.zeros(delay + 3, np.float32)
    feedback[0] = 1
    loss = 0.001 ** (period / RATE / 2.5)  # -60 dB after 2.5 s, before what the averaging takes
    feedback[delay : delay + 3] = -loss * np.array([(1 - fraction) / 2, 0.5, fraction / 2])
    tone = lfilter(np.ones(1, np.float32), feedback, burst)
    pick = 0.25 * _noise(length, (1300, 2100), rng) * np.exp(-np.arange(length) / (0.015 * RATE))
    return (tone / np.abs(tone).max() + pick).astype(np.float32)


def _flute(style: Style, samples: int, attack: float, rng: np.random.Generator) -> np.ndarray:
    """Blown: nearly a sine, with breath noise around it that is strongest at the onset."""
    line = _line(style, samples, 1.0, 0, rng, melody=True)
    gain, note, since = _envelope(line, 0.05 * attack, 0.06)
    tone = _oscillate(line, _bank(line, lambda _, n: 0.3 ** (n - 1.0), rng), note, _vibrato(since, 5.0, 0.15, 0.4))
    breath = 0.3 * _noise(samples, (2800, 4600), rng)
    return gain * (tone * (1 + 0.15 * np.sin(2 * np.pi * 5 * since)) + breath * (0.6 + 2 * np.exp(-since / 0.05)))


def _strings(style: Style, samples: int, attack: float, rng: np.random.Generator) -> np.ndarray:
    """Bowed: a section of detuned saw waves with slow attack and vibrato, two parts."""
    result = np.zeros(samples, np.float32)
    for voice in (0, 1):
        line = _line(style, samples, 1.0, voice, rng, melody=False)
        gain, note, since = _envelope(line, 0.09 * attack, 0.09)
        bank = _bank(line, lambda f, n: (1 + 2 * np.exp(-(((f - 2500) / 900) ** 2))) / n, rng)
        for detune, rate in ((-0.13, 5.3), (0.0, 5.9), (0.14, 6.4)):
            result += gain * _oscillate(line, bank, note, detune + _vibrato(since, rate, 0.3, 0.2))
    return result


def _organ(style: Style, samples: int, attack: float, rng: np.random.Generator) -> np.ndarray:
    """Drawbar organ: a chord of a few strong harmonics, on and off at once, through a turning loudspeaker."""
    drawbars = np.zeros(HARMONICS)
    drawbars[[0, 1, 2, 3, 7, 15]] = (1.0, 0.9, 0.6, 0.6, 0.5, 0.4)
    result = np.zeros(samples, np.float32)
    for voice in (0, 1, 2):
        line = _line(style, samples, 1.0, voice, rng, melody=False)
        gain, note, _ = _envelope(line, 0.008 * attack, 0.015)
        result += gain * _oscillate(line, _bank(line, lambda f, n: drawbars, rng), note, -12)
    return result * (1 + 0.5 * np.sin(2 * np.pi * 6.6 * np.arange(samples) / RATE)).astype(np.float32)


def _synth(style: Style, samples: int, attack: float, rng: np.random.Generator) -> np.ndarray:
    """Synth lead: two detuned square waves, every note from bright to dull, with a dotted echo."""
    line = _line(style, samples, 0.5, 0, rng, melody=False)
    gain, note, since = _envelope(line, 0.004 * attack, 0.02)
    bright = _bank(line, lambda f, n: (n % 2) / n**0.5 * (1 + 5 * np.exp(-(((f - 5800) / 900) ** 2))), rng)
    dull = _bank(line, lambda f, n: (n % 2) / n * (1 / (1 + (f / 900) ** 2) + np.exp(-(((f - 5800) / 900) ** 2))), rng)
    sweep = np.exp(-since / 0.12)
    glide = -1.5 * np.exp(-since / 0.02)
    tone = sum(
        sweep * _oscillate(line, bright, note, glide + detune)
        + (1 - sweep) * _oscillate(line, dull, note, glide + detune)
        for detune in (-0.1, 0.1)
    )
    dry = gain * tone
    echo = round(0.75 * 60 / style.tempo * RATE)
    if echo < samples:
        dry[echo:] += 0.35 * dry[:-echo]
    return dry


def _vocals(style: Style, samples: int, attack: float, rng: np.random.Generator) -> np.ndarray:
    """Voice-like: a glottal spectrum under the formants of two vowels per note, with a singer's vibrato and scoop."""
    line = _line(style, samples, 1.0, 0, rng, melody=True)
    gain, note, since = _envelope(line, 0.05 * attack, 0.05)
    bend = _vibrato(since, 5.6, 0.5, 0.15) - 1.2 * np.exp(-since / 0.05)
    vowels = np.array(VOWELS)[rng.integers(len(VOWELS), size=(2, len(line.midi)))]

    def spectrum(formants: np.ndarray) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
        def amplitude(frequency: np.ndarray, number: np.ndarray) -> np.ndarray:
            # (notes, harmonics, formants) resonances over a floor, on a source that falls 6 dB per octave
            width = 60 + 0.06 * formants[:, None, :]
            resonance = np.array(VOWEL_GAINS) / (1 + ((frequency[..., None] - formants[:, None, :]) / width) ** 2)
            return (resonance.sum(axis=2) + 0.01) / number**0.5

        return amplitude

    vowel = [_oscillate(line, _bank(line, spectrum(formants), rng), note, bend) for formants in vowels]
    morph = np.clip(since / 0.25, 0, 1)
    consonant = 0.6 * _noise(samples, (4500, 7500), rng) * np.exp(-(((since - 0.04) / 0.03) ** 2))
    return gain * ((1 - morph) * vowel[0] + morph * vowel[1]) + line.accent[note] * consonant


def _noise(samples: int, band: tuple[float, float], rng: np.random.Generator) -> np.ndarray:
    """Noise of RMS 1 between two frequencies in Hz."""
    noise = sosfilt(butter(2, band, "bandpass", fs=RATE, output="sos"), rng.standard_normal(samples))
    return (noise / np.sqrt(np.mean(noise**2))).astype(np.float32)


def _drums(style: Style, samples: int, rng: np.random.Generator) -> np.ndarray:
    """Kick on one and three, snare on two and four, hi-hat on every half beat."""
    time = np.arange(round(0.25 * RATE)) / RATE
    noise = rng.standard_normal((2, len(time)))
    kick = np.sin(2 * np.pi * (50 * time + 4.5 * (1 - np.exp(-time / 0.03)))) * np.exp(-time / 0.09)
    snare = (0.7 * noise[0] + 0.5 * np.sin(2 * np.pi * 190 * time)) * np.exp(-time / 0.06)
    hat = 0.35 * sosfilt(butter(2, 6000, "highpass", fs=RATE, output="sos"), noise[1]) * np.exp(-time / 0.025)
    beat = 60.0 / style.tempo * RATE
    result = np.zeros(samples)
    for half in range(int(np.ceil(2 * samples / beat))):
        start = round(half * beat / 2)
        hits = [hat] if half % 2 else [hat, snare if half % 4 else kick]
        for hit in hits:
            length = min(len(hit), samples - start)
            result[start : start + length] += rng.uniform(0.85, 1.0) * hit[:length]
    return result.astype(np.float32)


def _level(stem: np.ndarray) -> np.ndarray:
    """The stem at an RMS of 0.1."""
    return (stem * (0.1 / np.sqrt(np.mean(np.square(stem, dtype=np.float64)) + 1e-12))).astype(np.float32)


def _master(mix: np.ndarray, style: Style, rng: np.random.Generator) -> np.ndarray:
    """Room, treble, loudness and the noise floor that every recording has; (2, samples) float32."""
    tail = rng.standard_normal((2, RATE // 2), np.float32) * np.exp(
        -np.arange(RATE // 2, dtype=np.float32) / (0.09 * RATE)
    )
    tail /= np.sqrt((tail**2).sum(axis=1, keepdims=True))
    mix = np.float32(1 - style.room) * mix + np.float32(style.room) * oaconvolve(mix, tail, axes=1)[:, : mix.shape[1]]
    treble = mix - sosfilt(butter(1, 2000, fs=RATE, output="sos").astype(np.float32), mix, axis=1)
    mix += np.float32(0.5 * style.tilt) * treble
    if style.loudness > 0:
        mix = np.tanh(15 * _level(mix + treble))
        # corners near the Nyquist frequency would overshoot when resampled or coded
        mix = sosfilt(butter(4, 7500, fs=RATE, output="sos").astype(np.float32), mix, axis=1)
        peak = 0.7
    elif style.loudness < 0:
        mix = mix - np.float32(0.7) * treble
        peak = 0.04
    else:
        peak = 0.3
    mix *= np.float32(peak / (np.abs(mix).max() + 1e-12))
    fade = min(RATE // 50, mix.shape[1] // 2)
    mix[:, mix.shape[1] - fade :] *= np.linspace(1, 0, fade, dtype=np.float32)
    return np.clip(mix + np.float32(3e-4) * rng.standard_normal(mix.shape, np.float32), -1, 1)


INSTRUMENTS: dict[str, Callable[[Style, int, float, np.random.Generator], np.ndarray]] = {
    "guitar": _guitar,
    "flute": _flute,
    "strings": _strings,
    "organ": _organ,
    "synth": _synth,
    "vocals": _vocals,
}
"""Name → (style, samples, attack factor, rng) → mono (samples,) float."""
