"""Folders that are on this disk or in object storage, and errors of TensorFlow's file systems as those of the system."""

import errno
import importlib
import io
import os
from typing import TextIO

import tensorflow as tf

from orpheus.errors import ConfigError


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
    return folder if "://" in folder else os.path.abspath(folder)


def open_text(path: str | os.PathLike, encoding: str = "utf-8") -> TextIO:
    """`open` for reading text, of URLs too."""
    if "://" not in os.fspath(path):
        return open(path, encoding=encoding)
    try:
        return io.StringIO(tf.io.gfile.GFile(os.fspath(path), "rb").read().decode(encoding))
    except tf.errors.NotFoundError:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), os.fspath(path)) from None
    except tf.errors.OpError as error:
        raise os_error(error, path) from None


def os_error(error: tf.errors.OpError, path: str | os.PathLike) -> OSError:
    """The error of the operating system behind TensorFlow's, which has its text only."""
    words = str(error).lower()
    known = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EROFS)
    number = next((number for number in known if os.strerror(number).lower() in words), errno.EIO)
    return OSError(number, os.strerror(number), str(path))
