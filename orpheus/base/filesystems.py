"""What opens URLs: TensorFlow where it can (``gs://`` by itself, ``s3://`` with tensorflow-io), otherwise fsspec (s3fs).

Only `storage` asks here. Both offer the same methods; `absent` and `errors` are what those raise.
"""

import asyncio
import contextlib
import errno
import functools
import importlib
import os
from collections.abc import Iterator, Sequence
from typing import Any

import tensorflow as tf

from orpheus.errors import ConfigError


class TensorFlow:
    """The file systems that TensorFlow knows."""

    absent: tuple[type[Exception], ...] = (tf.errors.NotFoundError,)
    errors: tuple[type[Exception], ...] = (tf.errors.OpError,)

    def read(self, url: str) -> bytes:
        with tf.io.gfile.GFile(url, "rb") as file:
            return file.read()

    def write(self, url: str, content: bytes) -> None:
        with tf.io.gfile.GFile(url, "wb") as file:
            file.write(content)

    def fetch(self, url: str, local: str) -> None:
        tf.io.gfile.copy(url, local)

    def send(self, local: str, url: str) -> None:
        tf.io.gfile.copy(local, url, overwrite=True)

    def names(self, folder: str) -> list[str]:
        return tf.io.gfile.listdir(folder)

    def exists(self, url: str) -> bool:
        return tf.io.gfile.exists(url)

    def remove(self, url: str) -> None:
        tf.io.gfile.remove(url)

    def walk(self, folder: str, without: Sequence[str]) -> Iterator[str]:
        for parent, folders, names in tf.io.gfile.walk(folder):
            folders[:] = [name for name in folders if name.rstrip("/") not in without]
            yield from (f"{parent.rstrip('/')}/{name}" for name in names)


class Fsspec:
    """A file system of fsspec's. Nothing of it is kept: it is found anew, as it must be in a process that was forked."""

    absent: tuple[type[Exception], ...] = (FileNotFoundError,)
    errors: tuple[type[Exception], ...] = (OSError, asyncio.TimeoutError)

    def __init__(self, scheme: str):
        self._scheme = scheme
        self._system()
        if scheme == "s3":
            self.errors += (
                importlib.import_module("botocore.exceptions").BotoCoreError,
                importlib.import_module("aiohttp").ClientError,
            )

    def _system(self) -> Any:
        options = _s3_options() if self._scheme == "s3" else {}
        return importlib.import_module("fsspec").filesystem(self._scheme, use_listings_cache=False, **options)

    def read(self, url: str) -> bytes:
        return self._system().cat_file(url)

    def write(self, url: str, content: bytes) -> None:
        self._system().pipe_file(url, content)

    def fetch(self, url: str, local: str) -> None:
        self._system().get_file(url, local)

    def send(self, local: str, url: str) -> None:
        self._system().put_file(local, url)

    def names(self, folder: str) -> list[str]:
        return [name.rstrip("/").rpartition("/")[2] for name in self._system().ls(folder, detail=False)]

    def exists(self, url: str) -> bool:
        return self._system().exists(url)

    def remove(self, url: str) -> None:
        system = self._system()
        if not system.exists(url):  # S3 deletes what is not there without a word, other systems do not
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), url)
        system.rm_file(url)

    def walk(self, folder: str, without: Sequence[str]) -> Iterator[str]:
        left_out = set(without)
        for path in self._system().find(folder):
            url = f"{self._scheme}://{path.lstrip('/')}"
            if not left_out.intersection(url.removeprefix(folder).split("/")[:-1]):
                yield url


def _s3_options() -> dict[str, Any]:
    """What TensorFlow's S3 client takes from the environment and Amazon's own library does not, for s3fs."""
    client: dict[str, Any] = {}
    if endpoint := os.environ.get("S3_ENDPOINT"):
        plain = "http" if os.environ.get("S3_USE_HTTPS") == "0" else "https"
        client["endpoint_url"] = endpoint if "://" in endpoint else f"{plain}://{endpoint}"
    if region := os.environ.get("AWS_REGION"):
        client["region_name"] = region
    if os.environ.get("S3_VERIFY_SSL") == "0":
        client["verify"] = False
    return {"client_kwargs": client}


def door(url: str) -> TensorFlow | Fsspec:
    """What opens a URL here.

    Raises:
        ConfigError: nothing does.
    """
    scheme = url.partition("://")[0]
    if scheme in tf.io.gfile.get_registered_schemes():
        return TensorFlow()
    try:
        return loaded(scheme)
    except (ImportError, ValueError) as error:
        raise ConfigError(
            f"{url}: nothing here opens {scheme}:// ({error}); pip install s3fs, or copy it here"
        ) from None


@functools.cache
def loaded(scheme: str) -> TensorFlow | Fsspec:
    """tensorflow-io for S3 if it loads, otherwise fsspec; ImportError or ValueError where that knows no such scheme."""
    if scheme == "s3":
        # In several parts at a time tensorflow-io 0.37.1 reads rubbish from 512 kB on, and errors as content at the end.
        os.environ.setdefault("S3_DISABLE_MULTI_PART_DOWNLOAD", "1")
        with contextlib.suppress(ImportError, OSError, tf.errors.OpError, NotImplementedError):
            importlib.import_module("tensorflow_io")  # registers its file systems
            if scheme in tf.io.gfile.get_registered_schemes():
                return TensorFlow()
    return Fsspec(scheme)
