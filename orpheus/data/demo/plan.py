"""What the demo dataset is to hold: styles and artists assigned to tracks, and the tags that people would give them."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from orpheus.data.demo import synth

SYNONYMS: dict[str, tuple[str, ...]] = {
    "guitar": ("Guitar", "guitars", "acoustic guitar"),
    "flute": ("Flute", "flutes", "woodwind"),
    "strings": ("Strings", "string section", "violins"),
    "organ": ("Organ", "organs", "hammond organ"),
    "synth": ("Synth", "synths", "synthesizer"),
    "vocals": ("Vocals", "vocal", "voice"),
    "drums": ("Drums", "drum", "percussion"),
    "fast": ("Fast", "uptempo", "up-tempo", "up tempo"),
    "slow": ("Slow", "downtempo", "down-tempo", "down tempo"),
    "happy": ("Happy", "feel good", "feel-good", "cheerful"),
    "sad": ("Sad", "melancholy", "melancholic"),
    "high": ("High", "high-pitched", "high pitched"),
    "low": ("Low", "low-pitched", "low pitched"),
    "loud": ("Loud", "noisy", "energetic"),
    "quiet": ("Quiet", "soft", "calm"),
}
"""Canonical tag → other spellings and words for it."""

AUDIBLE = tuple(SYNONYMS)
"""Tags that the audio shows, instruments first."""

MEANINGLESS = ("awesome", "cool", "favourite", "seen live")
"""Tags assigned at random, whatever the audio and the artist."""

PHRASES: dict[str, tuple[str, ...]] = {
    "guitar": ("a plucked guitar", "picked steel strings", "fingers on six strings"),
    "flute": ("a breathy flute", "a wooden flute", "a blown melody"),
    "strings": ("a bowed string section", "violins and violas", "sweeping bows"),
    "organ": ("an electric organ", "drawbars and a turning loudspeaker", "organ chords"),
    "synth": ("a square synthesizer lead", "an electronic arpeggio", "a buzzing synth"),
    "vocals": ("a singer without words", "a voice on open vowels", "a crooning voice"),
    "drums": ("over a drum kit", "driven by kick and snare", "with a steady backbeat"),
    "fast": ("It races ahead", "The tempo is breathless", "It runs at a dancing pace"),
    "slow": ("It takes its time", "The pace is unhurried", "It moves at a crawl"),
    "happy": ("bright and cheerful", "sunny, in a major key", "full of joy"),
    "sad": ("wistful and melancholic", "mournful, in a minor key", "full of longing"),
    "high": ("up in the treble", "with tones that glitter on top", "in the highest octaves"),
    "low": ("down in the bass", "with deep dark tones", "in the lowest octaves"),
    "loud": ("turned up until it distorts", "played with full force", "roaring"),
    "quiet": ("played in a whisper", "hushed and gentle", "barely above silence"),
}

ARTISTS = (
    "Amber Quay",
    "The Brass Herons",
    "Cinder Lane",
    "Dovetail Union",
    "Elm & Iron",
    "The Far Lamps",
    "Gossamer Tide",
    "Hollow Harbour",
    "Inkwell Parade",
    "Juniper Static",
    "Kestrel Choir",
    "The Lantern Set",
    "Marble Foxes",
    "Northern Loom",
    "Orchard Signal",
    "The Paper Moons",
    "Quartz Avenue",
    "Rivermouth",
    "Saffron Engine",
    "Thistle & Glass",
)

_SYNONYM_ONLY, _DROPPED, _BOTH = 0.03, 0.03, 0.15
_MEANINGLESS_SHARE = 0.3
_STYLE_SHARE = 0.6  # how much of a track's character is its artist's


@dataclass(frozen=True)
class Track:
    """One planned track: what it sounds like, what is true of it, and the tags that people gave it."""

    number: int
    artist: str
    style: synth.Style
    truth: tuple[str, ...]
    tags: dict[str, float]

    @property
    def track_id(self) -> str:
        return f"DM{self.number:06d}"

    @property
    def audio_path(self) -> str:
        """Every fifth file is an mp3 (its encoder takes most of the time)."""
        return f"audio/{self.track_id}.{'mp3' if self.number % 5 == 1 else 'flac'}"

    @property
    def sample_rate(self) -> int:
        return (22050, 44100)[self.number // 4 % 2]

    @property
    def channels(self) -> int:
        return (2, 1)[self.number // 8 % 2]


def plan(*, tracks: int, seed: int) -> list[Track]:
    """Assign styles, artists and tags to tracks, in the order of their ids.

    Every property is assigned by rank, so that its share of the tracks is fixed: fast and slow 40 % each, high, low, loud
    and quiet 35 % each, drums and major a half; a track has one or two instruments, each on about 28 %. An artist's
    taste correlates with the rank by 0.6.
    """
    rng = np.random.default_rng([seed, 0])
    names = ARTISTS[: max(4, min(len(ARTISTS), tracks // 8))]
    artist = rng.permutation(np.arange(tracks) % len(names))
    properties = ("tempo", "drums", "mode", "register", "loudness", *synth.INSTRUMENTS)
    taste = rng.standard_normal((len(names), len(properties)))
    score = _STYLE_SHARE * taste[artist] + np.sqrt(1 - _STYLE_SHARE**2) * rng.standard_normal((tracks, len(properties)))
    rank = (score.argsort(axis=0).argsort(axis=0) + 0.5) / tracks  # (tracks, properties), each column even over 0 to 1
    tempo, drums, mode, register, loudness = rank[:, :5].T
    voices = rng.permutation(np.repeat((1, 2, 2), -(-tracks // 3))[:tracks])
    room, tilt = rng.uniform(0.05, 0.25, len(names)), rng.uniform(-0.3, 0.3, len(names))
    meaningless = _deal_evenly(artist, rng)
    result = []
    for i in range(tracks):
        best = np.argsort(-rank[i, 5:], kind="stable")[: voices[i]]
        style = synth.Style(
            instruments=tuple(properties[5 + k] for k in rng.permutation(best)),
            drums=bool(drums[i] > 0.5),
            tempo=_band(tempo[i], 0.4, (50, 66), (95, 105), (150, 185)),
            major=bool(mode[i] > 0.5),
            tonic=round(_band(register[i], 0.35, (43, 47), (57, 61), (71, 75))),
            loudness=round(_band(loudness[i], 0.35, (-1, -1), (0, 0), (1, 1))),
            room=float(room[artist[i]]),
            tilt=float(tilt[artist[i]]),
        )
        truth = _truth(style)
        tags = _folksonomy(truth, rng)
        tags.update(
            {
                tag: float(rng.integers(20, 101))
                for tag, assigned in zip(MEANINGLESS, meaningless[i], strict=True)
                if assigned
            }
        )
        result.append(Track(i, names[artist[i]], style, truth, tags))
    return result


def _band(rank: float, share: float, *ranges: tuple[float, float]) -> float:
    """A value from the first range for ranks below `share`, from the third above 1 − `share`, else from the second."""
    return float(
        np.interp(rank, (0, share, share, 1 - share, 1 - share, 1), [bound for pair in ranges for bound in pair])
    )


def _truth(style: synth.Style) -> tuple[str, ...]:
    """The audible tags of a style, in the order of `AUDIBLE`."""
    true = {
        **{name: name in style.instruments for name in synth.INSTRUMENTS},
        "drums": style.drums,
        "fast": style.tempo > 140,
        "slow": style.tempo < 80,
        "happy": style.major,
        "sad": not style.major,
        "high": style.tonic > 65,
        "low": style.tonic < 53,
        "loud": style.loudness > 0,
        "quiet": style.loudness < 0,
    }
    return tuple(tag for tag in AUDIBLE if true[tag])


def _deal_evenly(artist: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(tracks, MEANINGLESS) bool; every artist gets the same share of each, so that artists do not give them away."""
    result = np.zeros((len(artist), len(MEANINGLESS)), bool)
    for column in range(len(MEANINGLESS)):
        order = np.lexsort((rng.random(len(artist)), artist))
        steps = np.floor(rng.random() + _MEANINGLESS_SHARE * np.arange(len(artist) + 1))
        result[order, column] = np.diff(steps) > 0
    return result


def _folksonomy(truth: Iterable[str], rng: np.random.Generator) -> dict[str, float]:
    """Tag → weight as people give them: mostly the common word, at times another too or instead, or nothing."""
    tags = {}
    for tag in truth:
        luck = rng.random()
        other = SYNONYMS[tag][rng.integers(len(SYNONYMS[tag]))]
        if luck >= _DROPPED + _SYNONYM_ONLY:
            tags[tag] = float(rng.integers(60, 101))
        if _DROPPED <= luck < _DROPPED + _SYNONYM_ONLY + _BOTH:
            tags[other] = float(rng.integers(10, 81))
    return tags
