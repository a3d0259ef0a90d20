"""Lemmas of the words in tags: the singular of English nouns, by rule.

Why not a lemmatiser from a registry: those that ship their data are dictionaries of tens of megabytes for running text,
which know what a word can be, not what it is in a tag ("opera" becomes "opus", "best" "good", "shoegazing" "shoegaze");
tags are noun phrases, and plurals are what their variants differ in.
"""

_IRREGULAR = {
    "men": "man",
    "women": "woman",
    "children": "child",
    "feet": "foot",
    "teeth": "tooth",
    "geese": "goose",
    "wolves": "wolf",
    "lives": "life",
    "wives": "wife",
    "knives": "knife",
    "halves": "half",
    "selves": "self",
    "thieves": "thief",
    "leaves": "leaf",
    "shelves": "shelf",
    "elves": "elf",
    "shoes": "shoe",
    "toes": "toe",
    "canoes": "canoe",
    "aches": "ache",
    "headaches": "headache",
    "caches": "cache",
    "buses": "bus",
    "choruses": "chorus",
    "geniuses": "genius",
    "viruses": "virus",
    "bonuses": "bonus",
    "gases": "gas",
    "aliases": "alias",
}
# Words on -s that are no plurals, or that in music mean another thing than their singular.
_NO_PLURAL = {
    "blues",
    "christmas",
    "xmas",
    "texas",
    "kansas",
    "dallas",
    "vegas",
    "angeles",
    "orleans",
    "athens",
    "wales",
    "atlas",
    "pyjamas",
    "canvas",
    "chaos",
    "cosmos",
    "ethos",
    "pathos",
    "carlos",
    "james",
    "charles",
    "jones",
    "thomas",
    "jonas",
    "judas",
    "series",
    "species",
    "news",
    "always",
    "sometimes",
    "whereas",
    "mars",
    "does",
    "goes",
    "lens",
    "physics",
    "mathematics",
    "politics",
}


def lemma(word: str) -> str:
    """The singular of a noun in lower case; every other word as it is. A key, not a word to show: "indie" gives "indy".

    Args:
        word: One word, lower case; anything but letters makes it stay.

    Example:
        >>> [lemma(word) for word in ("memories", "classes", "voices", "women", "blues", "bass", "80s")]
        ['memory', 'class', 'voice', 'woman', 'blues', 'bass', '80s']
    """
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    if not word.isalpha() or len(word) < 4 or word in _NO_PLURAL:
        return word
    if word.endswith("ie") and len(word) > 4:
        return word[:-2] + "y"  # oldie and oldies, indie and indies: one key, whichever way they are written
    if not word.endswith("s") or word.endswith(("ss", "us", "is")):
        return word
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if word.endswith(("sses", "xes", "zzes", "ches", "shes", "oes")) and len(word) > 4:
        return word[:-2]
    return word[:-1]
