"""The two errors a user can cause. A command shows either as one line and exits with code 2."""

LONGEST = 500  # characters of a message
_HEAD = 300  # of those that stay at the front of a longer one; the cure is at its end


class _UserError(ValueError):
    """An error whose message is one line of at most `LONGEST` characters, whatever values and names went into it."""

    def __init__(self, message: object = ""):
        super().__init__(one_line(str(message)))


class ConfigError(_UserError):
    """A setting is wrong. The message names the key, the value, the rule and the cure."""


class DataError(_UserError):
    """A file is wrong or missing. The message names the file, what was found, the rule and the cure."""


def one_line(text: str, longest: int = LONGEST) -> str:
    """Text for a message: line ends and control characters as escapes, the middle left out where it is too long.

    Example:
        >>> one_line("a name\\nwith a line end")
        'a name\\\\nwith a line end'
    """
    if len(text) > longest:
        head = longest * _HEAD // LONGEST
        text = f"{text[:head]} … {text[head + 3 - longest :]}"
    if not text.isprintable():
        text = "".join(one if one.isprintable() else ascii(one)[1:-1] for one in text)
    return text if len(text) <= longest else one_line(text, longest)
