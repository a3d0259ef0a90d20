"""Runs of words that are one thing in several spellings: for the spelling of tags and for their word vectors alike."""

# The first of each is the canonical one.
SAME_WORDS = (
    ("hip hop", "hiphop"),
    ("trip hop", "triphop"),
    ("lo fi", "lofi"),
    ("sci fi", "scifi"),
    ("synth pop", "synthpop"),
    ("nu metal", "numetal"),
    ("post rock", "postrock"),
    ("avant garde", "avantgarde"),
    ("singer songwriter", "singersongwriter"),
    ("r and b", "r n b", "rnb", "rhythm and blues", "rhythm n blues"),
    ("rock and roll", "rock n roll", "rocknroll"),
    ("drum and bass", "drum n bass", "drumnbass", "dnb"),
)
LONGEST_RUN = 3  # words
