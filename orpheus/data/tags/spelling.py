"""When two spellings are the same tag."""

import re
import unicodedata
from collections.abc import Iterable, Sequence

from orpheus.base.same_words import LONGEST_RUN, SAME_WORDS

_DECADE_WORDS = {
    "twenties": 1920,
    "thirties": 1930,
    "forties": 1940,
    "fifties": 1950,
    "sixties": 1960,
    "seventies": 1970,
    "eighties": 1980,
    "nineties": 1990,
    "noughties": 2000,
}
_DECADE = re.compile(r"(?:(1[89]|20)(\d0)|(\d0))s")
_APOSTROPHES = re.compile("['’‘`´]")
_SAME = {
    tuple(other.replace(" and ", " n ").split()): first.replace(" and ", " n ").split()
    for first, *others in SAME_WORDS
    for other in others
}


def spelling_key(tag: str) -> str:
    """A key that is equal for the spellings of one tag.

    Ignored are case, everything that is not a letter or digit, and a final "s"; "&", "n" and "and" are one word, and so
    are the ways to write a decade ("80s", "80's", "1980s", "eighties") and the names that `SAME_WORDS` holds ("dnb", "drum
    and bass"). The year "1980" is not the decade, and two
    digits mean the twentieth century from 20 on ("10s" is 2010).

    Example:
        >>> spelling_key("Hip-Hop") == spelling_key("hiphop"), spelling_key("R&B") == spelling_key("r and b")
        (True, True)
    """
    words = spelling_words(tag)
    if not words:
        return _without_letters(tag)
    key = "".join(words)
    return key[:-1] if len(key) > 2 and key.endswith("s") else key


def spelling_words(tag: str) -> list[str]:
    """The words of a tag, the same for its spellings: lower case, no punctuation, "n" for "and" and "&", decades as one,
    names of `SAME_WORDS` by their first spelling.

    Empty where the tag has neither letter nor digit.
    """
    text = _plain(tag).replace("&", " and ")
    words = ["n" if word == "and" else _decade(word) for word in re.sub(r"[\W_]+", " ", text).split()]
    found: list[str] = []
    while words:
        length = next((n for n in range(LONGEST_RUN, 1, -1) if tuple(words[:n]) in _SAME), 1)
        found += _SAME.get(tuple(words[:length]), words[:length])
        words = words[length:]
    return found


def one_spelling(tags: Iterable[str]) -> list[str]:
    """The first of each tag's spellings, in their order.

    Example:
        >>> one_spelling(["Synth", "dnb", "synth", "Drum & Bass"])
        ['Synth', 'dnb']
    """
    first: dict[str, str] = {}
    for tag in tags:
        first.setdefault(spelling_key(tag), tag)
    return list(first.values())


def lemma_key(words: Sequence[str], tag: str) -> str:
    """A key that is equal for tags whose words are equal as lemmas, however they are spaced.

    Args:
        words: `spelling_words` of the tag, or some of them, each its lemma.
        tag: The tag itself, its own key where it has no word.
    """
    return "".join(words) or _without_letters(tag)


def _plain(tag: str) -> str:
    return unicodedata.normalize("NFKC", _APOSTROPHES.sub("", tag)).casefold()


def _without_letters(tag: str) -> str:
    return _plain(tag).strip() or tag  # "!!!" is a tag too


def _decade(word: str) -> str:
    """``"1980-"`` for each way to write the decade, which no other word can give; any other word as it is."""
    if word in _DECADE_WORDS:
        return f"{_DECADE_WORDS[word]}-"
    match = _DECADE.fullmatch(word)
    if not match:
        return word
    century, years, short = match.groups()
    return f"{century}{years}-" if century else f"{20 if short in ('00', '10') else 19}{short}-"
