"""Clean tags scattered over synonyms and spellings, the way listeners tag.

Each track is tagged by 1 to 4 listeners. A listener gives each of its true tags with probability 0.6 and spells it one of
several ways, the k-th most usual of them with a probability proportional to 1/k (Zipf); with probability 0.3 one adds a
tag that says nothing about the sound, again by Zipf. A track's tags are what any of its listeners gave. The true tag's own
name is its most usual spelling; rare true tags, which have no entry here, are always spelled as they are.
"""

from collections.abc import Mapping, Sequence

import numpy as np

LISTENERS, GIVEN, ADDED = 4, 0.6, 0.3

# True tag: its other spellings, the most usual first. Case, hyphens, plurals, abbreviations, other languages, synonyms.
SPELLINGS: dict[str, tuple[str, ...]] = {
    "short note": ("short", "Short Note", "short notes", "brief"),
    "woodwind": ("woodwinds", "Woodwind", "wood wind", "winds"),
    "middle register": ("mid register", "Middle Register", "middle range", "midrange"),
    "loud": ("Loud", "noisy", "powerful", "LOUD"),
    "sustained": ("long note", "Sustained", "held note", "long tones"),
    "quiet": ("soft", "Quiet", "calm", "gentle"),
    "high register": ("high pitched", "High Register", "high range", "treble"),
    "forte": ("Forte", "f", "strong"),
    "piano": ("Piano", "p", "softly"),
    "mezzo-forte": ("mf", "mezzo forte", "mezzoforte", "Mezzo-Forte"),
    "low register": ("low pitched", "Low Register", "low range", "bass register"),
    "fortissimo": ("ff", "Fortissimo", "very loud", "fortisimo"),
    "bowed strings": ("strings", "Bowed Strings", "string instruments", "bowed"),
    "brass": ("Brass", "brass instruments", "brasses"),
    "pianissimo": ("pp", "Pianissimo", "very quiet", "pianisimo"),
    "plucked strings": ("plucked", "Plucked Strings", "plucked string"),
    "bass clarinet": ("Bass Clarinet", "bass-clarinet", "bassclarinet", "Bassklarinette"),
    "bassoon": ("Bassoon", "fagott", "bassoons", "fagotto"),
    "cello": ("violoncello", "Cello", "celli", "cellos"),
    "clarinet": ("Clarinet", "clarinets", "klarinette", "clarinette"),
    "contrabassoon": ("double bassoon", "Contrabassoon", "contra bassoon", "kontrafagott"),
    "cor anglais": ("english horn", "Cor Anglais", "englishhorn", "corno inglese"),
    "double bass": ("contrabass", "Double Bass", "upright bass", "doublebass"),
    "flute": ("Flute", "flutes", "flauto", "querflöte"),
    "french horn": ("horn", "French Horn", "horns", "waldhorn"),
    "oboe": ("Oboe", "oboes", "hautbois"),
    "saxophone": ("sax", "Saxophone", "saxophones", "saxophon"),
    "trombone": ("Trombone", "trombones", "posaune"),
    "mezzo-piano": ("mp", "mezzo piano", "mezzopiano"),
    "phrase": ("Phrase", "melody", "riff", "lick"),
    "percussion": ("Percussion", "drums", "percussive"),
    "guitar": ("Guitar", "guitars", "acoustic guitar", "gitarre"),
    "mandolin": ("Mandolin", "mandoline", "mandolins"),
    "banjo": ("Banjo", "banjos", "5-string banjo"),
    "trill": ("Trill", "trills", "shake"),
    "tremolo": ("Tremolo", "tremolando", "trem"),
    "cresc-decresc": ("cresc decresc", "swell", "hairpin"),
    "harmonics": ("Harmonics", "flageolet", "overtones"),
    "major-trill": ("major trill", "Major-Trill", "whole tone trill"),
    "short attack": ("Short Attack", "sharp attack", "quick attack"),
}
MEANINGLESS = (
    "awesome",
    "cool",
    "favourite",
    "seen live",
    "samples",
    "check out",
    "good",
    "my collection",
    "todo",
    "love",
)


def canonical() -> dict[str, str]:
    """Spelling → the true tag it stands for, each true tag's own name included."""
    return {spelling: tag for tag, others in SPELLINGS.items() for spelling in (tag, *others)}


def scatter(tracks: Mapping[str, Sequence[str]], *, seed: int = 0) -> dict[str, list[str]]:
    """Tags as listeners give them.

    Args:
        tracks: Track id → true tags.
        seed: Same seed, same tags, whatever the order of `tracks`.

    Returns:
        Track id → given tags, in the order they were given; a track may end up without any.
    """
    result = {}
    for number, track in enumerate(sorted(tracks)):
        rng = np.random.default_rng([seed, number])
        given: dict[str, None] = {}
        for _ in range(rng.integers(1, LISTENERS + 1)):
            for tag in sorted(tracks[track]):
                if rng.random() < GIVEN:
                    given[_zipf(rng, (tag, *SPELLINGS.get(tag, ())))] = None
            if rng.random() < ADDED:
                given[_zipf(rng, MEANINGLESS)] = None
        result[track] = list(given)
    return result


def _zipf(rng: np.random.Generator, names: Sequence[str]) -> str:
    """One of `names`, the k-th with a probability proportional to 1/k."""
    weights = 1 / np.arange(1, len(names) + 1)
    return names[int(rng.choice(len(names), p=weights / weights.sum()))]
