"""Folders that are on this disk or in object storage, and errors of file systems as those of the system.

TensorFlow's readers cannot open what fsspec opens (`filesystems`): there a shard is copied to this machine when it is first
read, and stays until the process ends.
"""

import atexit
import contextlib
import errno
import io
import os
import shutil
import tempfile
import threading
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any, TextIO

import tensorflow as tf

from orpheus.base import files, filesystems
from orpheus.errors import DataError


def is_url(path: str | os.PathLike) -> bool:
    """Whether a path is in object storage (``gs://…``, ``s3://…``)."""
    return "://" in os.fspath(path)


def location(folder: str | os.PathLike) -> str:
    """A folder's path with ``~`` expanded, or its URL (``gs://…``, ``s3://…``) where something here can open such.

    Raises:
        ConfigError: nothing installed here can open it.
    """
    name = os.fspath(folder)
    if not is_url(name):
        return os.path.expanduser(name)
    filesystems.door(name)
    return name


def absolute(folder: str) -> str:
    """A path that holds from any working folder; a URL as it is."""
    return folder if is_url(folder) else os.path.abspath(folder)


def open_text(path: str | os.PathLike, encoding: str = "utf-8") -> TextIO:
    """`open` for reading text, of URLs too."""
    if not is_url(path):
        return open(path, encoding=encoding)
    url = os.fspath(path)
    door = filesystems.door(url)
    try:
        return io.StringIO(door.read(url).decode(encoding))
    except door.absent:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), url) from None
    except door.errors as error:
        raise os_error(error, url) from None


@contextlib.contextmanager
def atomic(path: str | os.PathLike, mode: str = "w") -> Iterator[IO]:
    """`files.atomic`, to URLs too: an object is there when all of it is."""
    if not is_url(path):
        with files.atomic(path, mode) as local:
            yield local
        return
    buffer: IO[Any] = io.BytesIO() if "b" in mode else io.StringIO()
    yield buffer
    content = buffer.getvalue()  # type: ignore[attr-defined]
    url = os.fspath(path)
    with _written(url) as door:
        door.write(url, content if "b" in mode else content.encode())


@contextlib.contextmanager
def writable(path: str | os.PathLike) -> Iterator[str]:
    """The name of a file of this machine to write, which is at `path`, a URL too, when the block ends without an error.

    Raises:
        OSError: the disk is full, or storage does not take the file; nothing is left under the final name.
    """
    path = os.fspath(path)
    if is_url(path):
        with tempfile.TemporaryDirectory() as folder:
            local = os.path.join(folder, path.rpartition("/")[2])
            with _failing_at(local):
                yield local
            with _written(path) as door:
                door.send(local, path)
        return
    with files.whole(path) as temporary, _failing_at(path):
        yield str(temporary)


@contextlib.contextmanager
def readable(path: str | os.PathLike) -> Iterator[str]:
    """The name of a file of this machine with the content of `path`; a URL is copied for as long as the block lasts.

    Raises:
        DataError: there is no such object, or it cannot be read.
    """
    if not is_url(path):
        yield os.fspath(path)
        return
    url = location(path)
    with tempfile.TemporaryDirectory() as folder:
        local = os.path.join(folder, url.rpartition("/")[2])
        _fetch(url, local)
        yield local


def _fetch(url: str, local: str) -> None:
    door = filesystems.door(url)
    try:
        door.fetch(url, local)
    except door.absent:
        raise DataError(f"{url}: no such file") from None
    except door.errors as error:
        raise DataError(f"{url}: cannot be read ({_said(error)})") from None


def is_copied(path: str | os.PathLike) -> bool:
    """Whether shards there are copied to this machine to be read, since TensorFlow itself cannot open them."""
    return is_url(path) and isinstance(filesystems.door(os.fspath(path)), filesystems.Fsspec)


def check_room(folder: str, size: int) -> None:
    """Refuse a folder whose shards are to be copied here where the disk has no room for `size` bytes.

    Raises:
        DataError: it has not.
    """
    if is_copied(folder) and size > (free := shutil.disk_usage(tempfile.gettempdir()).free):
        raise DataError(
            f"{folder}: its {size / 1e9:.1f} GB are copied to {tempfile.gettempdir()} as they are read, which has "
            f"{free / 1e9:.1f} GB free; set TMPDIR to a folder on a larger disk"
        )


class _Copies:
    """Objects on this machine, each fetched once by whoever asks first; they go when the process ends."""

    def __init__(self) -> None:
        self._folder = ""
        self._paths: dict[str, str] = {}
        self._lock = threading.Lock()
        self._locks: dict[str, threading.Lock] = defaultdict(threading.Lock)

    def path(self, url: str) -> str:
        with self._lock:
            if not self._folder:
                self._folder = tempfile.mkdtemp(prefix="orpheus-shards-")
                atexit.register(shutil.rmtree, self._folder, ignore_errors=True)
            lock = self._locks[url]
            number = len(self._locks)
        with lock:
            if url not in self._paths:
                local = os.path.join(self._folder, f"{number}-{url.rpartition('/')[2]}")
                _fetch(url, local)
                self._paths[url] = local
            return self._paths[url]


_copies = _Copies()


def tensorflow_path(path: str | os.PathLike) -> str:
    """A name that TensorFlow's readers open: the path itself, or that of its copy on this machine.

    Raises:
        DataError: there is no such object, it cannot be read, or the disk is full.
    """
    return _copies.path(os.fspath(path)) if is_copied(path) else os.fspath(path)


def tensorflow_path_in_graph(path: tf.Tensor, folder: str) -> tf.Tensor:
    """`tensorflow_path` of a string tensor, a file in `folder`, when the graph runs."""
    if not is_copied(folder):
        return path
    local = tf.numpy_function(lambda url: tensorflow_path(url.decode()).encode(), [path], tf.string, stateful=False)
    return tf.ensure_shape(local, [])


def exists(path: str) -> bool:
    """Whether there is such a file or object.

    Raises:
        DataError: storage does not answer, or does not let us in.
    """
    if not is_url(path):
        return os.path.exists(path)
    door = filesystems.door(path)
    try:
        return door.exists(path)
    except door.errors as error:
        raise DataError(f"{path}: cannot be read ({_said(error)})") from None


def listed(folder: str) -> list[str]:
    """Names in a folder, sorted, without the slash that object storage gives folders; none where there is no folder.

    Raises:
        DataError: storage does not answer, or does not let us in.
    """
    if not is_url(folder):
        return sorted(os.listdir(folder)) if os.path.isdir(folder) else []
    door = filesystems.door(folder)
    try:
        return sorted({name.rstrip("/") for name in door.names(folder)} - {""})
    except door.absent:
        return []
    except door.errors as error:
        raise DataError(f"{folder}: cannot be listed ({_said(error)})") from None


def walked(url: str, *, without: Sequence[str] = ()) -> Iterator[str]:
    """URLs of the files below a URL, at any depth; none where there is nothing.

    Args:
        url: A folder in object storage.
        without: Names of folders that are left out.

    Raises:
        DataError: storage does not answer, or does not let us in.
    """
    door = filesystems.door(url)
    try:
        yield from door.walk(url, without)
    except door.absent:
        return
    except door.errors as error:
        raise DataError(f"{url}: cannot be listed ({_said(error)})") from None


def remove(path: str) -> None:
    """Remove a file that may not be there."""
    if not is_url(path):
        Path(path).unlink(missing_ok=True)
        return
    with _written(path) as door, contextlib.suppress(*door.absent):
        door.remove(path)


@contextlib.contextmanager
def _written(url: str) -> Iterator[filesystems.TensorFlow | filesystems.Fsspec]:
    """What opens `url`, its errors as ours."""
    door = filesystems.door(url)
    try:
        yield door
    except door.errors as error:
        raise DataError(f"{url}: cannot be written ({_said(error)})") from None


@contextlib.contextmanager
def _failing_at(path: str | os.PathLike) -> Iterator[None]:
    """TensorFlow's errors as the system's, about a file of this machine."""
    try:
        yield
    except tf.errors.OpError as error:
        raise os_error(error, path) from None


def _said(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


def os_error(error: Exception, path: str | os.PathLike) -> OSError:
    """The error of the operating system behind a file system's, which has its text only."""
    words = str(error).lower()
    known = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EROFS)
    number = next((number for number in known if os.strerror(number).lower() in words), errno.EIO)
    return OSError(number, os.strerror(number), str(path))
