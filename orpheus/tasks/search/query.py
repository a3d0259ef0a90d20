"""What a search asks for: words, quoted phrases and tags, each wanted or (with a minus) not wanted."""

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from orpheus.errors import ConfigError
from orpheus.semantics.words import tokens

_PART = re.compile(r'(-?)(?:"([^"]*)(?:"|$)|“([^”]*)(?:”|$)|([^\s"“]+))')
_LONGEST = 4  # words of a tag that is looked for within a query
# They carry no meaning of their own, though word vectors know them; in a tag ("rock and roll") they stay.
_FILLERS = frozenset(["a", "an", "and", "for", "in", "of", "or", "the", "to", "with"])


@dataclass(frozen=True)
class Query:
    """Terms wanted and not wanted, as they are asked of the model."""

    positive: tuple[str, ...]
    negative: tuple[str, ...] = ()

    def __str__(self) -> str:
        return " + ".join(self.positive) + "".join(f" − {term}" for term in self.negative)


@dataclass(frozen=True)
class QueryTerm:
    """A word or a phrase of a query as it was typed."""

    text: str
    negative: bool = False
    phrase: bool = False


def split(text: str) -> list[QueryTerm]:
    """The parts of a query: words, and phrases between double quotes; a minus directly before one negates it.

    >>> [(part.text, part.negative) for part in split('sad "dream pop" -vocals')]
    [('sad', False), ('dream pop', False), ('vocals', True)]
    """
    found = []
    for minus, quoted, curled, word in _PART.findall(text):
        phrase = quoted or curled
        if content := (phrase or word).strip():
            found.append(QueryTerm(content, bool(minus), bool(phrase)))
    return found


def spelled(tags: Iterable[str]) -> dict[tuple[str, ...], str]:
    """Words of a tag → the tag, the first of those that are spelled differently only: how `parse` looks tags up."""
    found: dict[tuple[str, ...], str] = {}
    for tag in tags:
        if words := tokens(tag):
            found.setdefault(words, tag)
    return found


def parse(
    text: str, *, tags: Mapping[tuple[str, ...], str], knows: Callable[[str], bool], examples: Collection[str] = ()
) -> tuple[Query, list[str]]:
    """Read a query.

    A query that is a tag as a whole is that tag. Otherwise its phrases are one term each, and from its other words the
    longest runs that are tags are taken ("hip hop piano" is "hip hop" and "piano"), then the words by themselves.

    Args:
        text: As typed.
        tags: Known tags, of `spelled`; whatever the spelling of the query, the known one is asked for.
        knows: Whether a term that is not among them has a vector.
        examples: Tags that the error of an empty query names.

    Returns:
        The query and the terms that nothing is known of.

    Raises:
        ConfigError: no term, or a minus by itself.
    """
    parts = split(text)
    if any(part.text == "-" and not part.phrase for part in parts):
        raise ConfigError(
            f"the query {text!r} has a minus by itself: put it directly before what is not wanted (-vocals)"
        )
    whole = tags.get(tokens(text)) if not any(part.negative or part.phrase for part in parts) else None
    if whole is not None:
        return Query((whole,)), []
    terms: dict[bool, list[str]] = {False: [], True: []}
    unknown: list[str] = []

    def take(term: str, negative: bool) -> None:
        name = tags.get(tokens(term))
        if name is None and not (tokens(term) and knows(term)):
            unknown.append(term)
        else:
            terms[negative].append(name or term)

    run: list[str] = []
    for part in [*parts, QueryTerm("", phrase=True)]:  # the last one ends the last run
        if not part.negative and not part.phrase:
            run.append(part.text)
            continue
        for term in _runs(run, tags):
            take(term, False)
        run = []
        if part.text:
            take(part.text, part.negative)
    query = Query(*(tuple(dict.fromkeys(terms[negative])) for negative in (False, True)))
    if not (query.positive or query.negative or unknown):
        known = f", for example {', '.join(sorted(examples)[:5])}" if examples else ""
        raise ConfigError(f"the query {text!r} is empty: give tags or words{known}; -WORD for what is not wanted")
    return query, unknown


def _runs(words: Sequence[str], tags: Mapping[tuple[str, ...], str]) -> list[str]:
    """Terms of unquoted words."""
    found = []
    start = 0
    while start < len(words):
        for end in range(min(start + _LONGEST, len(words)), start + 1, -1):
            if all(map(tokens, words[start:end])) and tokens(" ".join(words[start:end])) in tags:
                break
        else:
            end = start + 1
        term = " ".join(words[start:end])
        if tokens(term) in tags or term.lower() not in _FILLERS:
            found.append(term)
        start = end
    return found
