"""One writer at a time: a lock on a folder, or on a part of it, that ends with the process that holds it."""

import contextlib
import datetime
import errno
import json
import os
import platform
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

from orpheus.base import files
from orpheus.errors import DataError

_NAME = re.compile(r"\.lock(?:-(\d+)-(\d+))?")
_NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)


@contextlib.contextmanager
def lock(folder: str | os.PathLike[str], *, part: tuple[int, int] | None = None) -> Iterator[None]:
    """Keep other processes from writing to a folder for as long as the block lasts.

    The lock is of the operating system and ends with its process, however that ends. Its file, ``.lock``, says who holds
    it, and is removed at the end; one that a killed process left behind holds nobody up. Where a network file system has
    no locks the file alone counts, if its process is of another machine or still runs on this one.

    Args:
        folder: Made where it is missing.
        part: (first, last) of numbered things in the folder: keeps those out alone who want one of them, or all.

    Raises:
        DataError: another process, named in the message, holds it.
        OSError: the folder cannot be written to.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / (".lock" if part is None else f".lock-{part[0]}-{part[1]}")
    with guarded(folder):
        for other in sorted(folder.glob(".lock*")):
            if _meets(other.name, part):
                _take_over(other, folder)
        descriptor = _make(path)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(descriptor)


@contextlib.contextmanager
def guarded(folder: str | os.PathLike) -> Iterator[None]:
    """Wait for the others of this machine to leave such a block of this folder: for steps that take moments."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # some network file systems know no locks: there, one at a time
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _make(path: Path) -> int:
    """The open file of a lock that is ours; OSError of its folder, where it cannot be written."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        try:
            _try(descriptor)
            os.write(descriptor, json.dumps(_me()).encode())
        except BaseException:
            path.unlink()
            os.close(descriptor)
            raise
    except OSError as error:
        error.filename = str(path.parent)  # nobody has heard of the lock
        raise
    return descriptor


def _meets(name: str, part: tuple[int, int] | None) -> bool:
    """Whether the lock of that name and one of `part` are of the same things."""
    found = _NAME.fullmatch(name)
    if found is None:
        return False
    return part is None or found[1] is None or (int(found[1]) <= part[1] and part[0] <= int(found[2]))


def _take_over(path: Path, folder: Path) -> None:
    """Remove the lock of a process that is gone; DataError where it is not."""
    try:
        descriptor = os.open(path, os.O_RDWR)
    except FileNotFoundError:  # given back in between
        return
    try:
        free, owner = _try(descriptor), _owner(path)
        if free is None:
            process = owner.get("process")
            here = owner.get("host") == platform.node()
            free = here and isinstance(process, int) and not files.is_alive(process)
        if not free:
            raise DataError(f"{folder}: {_held(owner, path)}")
        path.unlink(missing_ok=True)
    finally:
        os.close(descriptor)


def _try(descriptor: int) -> bool | None:
    """Whether the lock of an open file is ours now; None where the file system has no locks."""
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        return None
    return True


def _me() -> dict[str, str | int]:
    command = shlex.join(["python", *sys.orig_argv[1:]])
    since = datetime.datetime.now().strftime("%Y-%m-%d %H:%M:%S")
    return {"process": os.getpid(), "host": platform.node(), "since": since, "command": command[:200]}


def _owner(path: Path) -> dict:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # it is about to write it
        return {}
    return value if isinstance(value, dict) else {}


def _held(owner: dict, path: Path) -> str:
    if not owner:
        return "another process has just begun to write to it; wait until it ends"
    here = owner.get("host") == platform.node()
    cure = f"kill {owner.get('process')}" if here else f"and remove {path} if that machine is gone"
    return (
        f"process {owner.get('process')} on {owner.get('host')} has been writing to it since {owner.get('since')} "
        f"({owner.get('command')}); wait until it ends, or end it ({cure})"
    )
