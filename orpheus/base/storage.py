"""Folders that are on this disk or in object storage, and errors of TensorFlow's file systems as those of the system."""

import contextlib
import errno
import importlib
import io
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, TextIO

import tensorflow as tf

from orpheus.base import files
from orpheus.errors import ConfigError, DataError


def is_url(path: str | os.PathLike) -> bool:
    """Whether a path is in object storage (``gs://…``, ``s3://…``)."""
    return "://" in os.fspath(path)


def location(folder: str | os.PathLike) -> str:
    """A folder's path with ``~`` expanded, or its URL (``gs://…``, ``s3://…``) where TensorFlow can open such.

    Raises:
        ConfigError: nothing installed here can open it.
    """
    name = os.fspath(folder)
    scheme, mark, _ = name.partition("://")
    if not mark:
        return os.path.expanduser(name)
    if scheme not in tf.io.gfile.get_registered_schemes():
        # In several parts at a time tensorflow-io 0.37.1 reads rubbish from 512 kB on, and errors as content at the end.
        os.environ.setdefault("S3_DISABLE_MULTI_PART_DOWNLOAD", "1")
        try:
            importlib.import_module("tensorflow_io")  # registers its file systems
        except (ImportError, OSError, tf.errors.OpError, NotImplementedError) as error:
            reason = f"tensorflow-io, which opens {scheme}://, does not load here ({error})"
        else:
            reason = f"neither TensorFlow nor tensorflow-io opens {scheme}:// here"
        if scheme not in tf.io.gfile.get_registered_schemes():
            raise ConfigError(
                f"{name}: {reason}; install tensorflow 2.17.1 with tensorflow-io 0.37.1, or copy the folder here"
            )
    return name


def absolute(folder: str) -> str:
    """A path that holds from any working folder; a URL as it is."""
    return folder if is_url(folder) else os.path.abspath(folder)


def open_text(path: str | os.PathLike, encoding: str = "utf-8") -> TextIO:
    """`open` for reading text, of URLs too."""
    if not is_url(path):
        return open(path, encoding=encoding)
    try:
        with tf.io.gfile.GFile(os.fspath(path), "rb") as file:
            return io.StringIO(file.read().decode(encoding))
    except tf.errors.NotFoundError:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), os.fspath(path)) from None
    except tf.errors.OpError as error:
        raise os_error(error, path) from None


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
    with _failing_at(path), tf.io.gfile.GFile(os.fspath(path), "wb") as file:
        file.write(content if "b" in mode else content.encode())


@contextlib.contextmanager
def writable(path: str | os.PathLike) -> Iterator[str]:
    """The name of a file of this machine to write, which is at `path`, a URL too, when the block ends without an error.

    Raises:
        OSError: the disk is full, or storage does not take the file; nothing is left under the final name.
    """
    path = os.fspath(path)
    if is_url(path):
        with tempfile.TemporaryDirectory() as folder, _failing_at(path):
            local = os.path.join(folder, path.rpartition("/")[2])
            yield local
            tf.io.gfile.copy(local, path, overwrite=True)
        return
    temporary = Path(path).with_name(f".{os.path.basename(path)}.{os.getpid()}.tmp")
    try:
        with _failing_at(path):
            yield str(temporary)
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


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
        try:
            tf.io.gfile.copy(url, local)
        except tf.errors.NotFoundError:
            raise DataError(f"{url}: no such file") from None
        except tf.errors.OpError as error:
            raise DataError(f"{url}: cannot be read ({_said(error)})") from None
        yield local


def make_folder(folder: str) -> None:
    """Make a folder and those above it; object storage has none and needs none."""
    if not is_url(folder):
        os.makedirs(folder, exist_ok=True)


def listed(folder: str) -> list[str]:
    """Names in a folder, sorted, without the slash that object storage gives folders; none where there is no folder.

    Raises:
        DataError: storage does not answer, or does not let us in.
    """
    if not is_url(folder):
        return sorted(os.listdir(folder)) if os.path.isdir(folder) else []
    try:
        return sorted({name.rstrip("/") for name in tf.io.gfile.listdir(folder)} - {""})
    except tf.errors.NotFoundError:
        return []
    except tf.errors.OpError as error:
        raise DataError(f"{folder}: cannot be listed ({_said(error)})") from None


def remove(path: str) -> None:
    """Remove a file that may not be there."""
    if not is_url(path):
        Path(path).unlink(missing_ok=True)
        return
    with _failing_at(path), contextlib.suppress(tf.errors.NotFoundError):
        tf.io.gfile.remove(path)


@contextlib.contextmanager
def _failing_at(path: str | os.PathLike) -> Iterator[None]:
    """TensorFlow's errors as the system's, about `path`."""
    try:
        yield
    except tf.errors.OpError as error:
        if is_url(path):
            raise DataError(f"{os.fspath(path)}: cannot be written ({_said(error)})") from None
        raise os_error(error, path) from None


def _said(error: tf.errors.OpError) -> str:
    return " ".join(str(error).split())[:200]


def os_error(error: tf.errors.OpError, path: str | os.PathLike) -> OSError:
    """The error of the operating system behind TensorFlow's, which has its text only."""
    words = str(error).lower()
    known = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EROFS)
    number = next((number for number in known if os.strerror(number).lower() in words), errno.EIO)
    return OSError(number, os.strerror(number), str(path))
