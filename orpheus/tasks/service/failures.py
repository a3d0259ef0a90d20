"""What a request can fail with: a status, a code for programs and one line for people."""

from collections.abc import Mapping

from orpheus.errors import one_line


class Failure(Exception):
    """An answer that is an error.

    Args:
        status: Of HTTP.
        code: A short name.
        message: One line.
        headers: That the answer has besides.
    """

    def __init__(self, status: int, code: str, message: str, *, headers: Mapping[str, str] | None = None):
        super().__init__(message)
        self.status, self.code, self.message, self.headers = status, code, one_line(message), dict(headers or {})


class Gone(Exception):
    """The client has gone before it had its answer."""


def public(message: str, names: Mapping[str, str]) -> str:
    """A message for clients: folders and files of this computer as the name under which they are served.

    Args:
        message: Of an error.
        names: Path → name.

    Example:
        >>> public("/srv/music/songs.db: no listener 'x'", {"/srv/music": "music", "/srv/music/songs.db": "music"})
        "music: no listener 'x'"
    """
    for path in sorted(names, key=len, reverse=True):  # what is in a folder before the folder
        message = message.replace(path, names[path])
    return message


def busy(what: str) -> Failure:
    """Too much is under way."""
    return Failure(429, "busy", f"{what}; ask again in a moment", headers={"retry-after": "1"})


def missing(message: str) -> Failure:
    """Nothing of that name or number."""
    return Failure(404, "not_found", message)


def unusable(message: str) -> Failure:
    """A file that cannot be used."""
    return Failure(422, "unusable_audio", message)


def unsupported(what: str) -> Failure:
    """What this run or index cannot do."""
    return Failure(404, "not_available", what)
