"""The command's arguments, checked before anything heavy is loaded."""

import argparse
import importlib.util
import math

from orpheus.errors import ConfigError
from orpheus.tasks.service.settings import Settings

_NEEDS = ("fastapi", "uvicorn", "python_multipart", "prometheus_client")


def start(arguments: argparse.Namespace) -> int:
    """Serve as the arguments say; returns when it is ended.

    Raises:
        ConfigError: an argument out of range, a package that is not installed.
    """
    settings = settings_of(arguments)
    for name in _NEEDS:
        if importlib.util.find_spec(name) is None:
            raise ConfigError(f"{name} is not installed, which serving needs; pip install 'orpheus-music[serve]'")
    from orpheus.tasks.service import server

    server.serve(
        arguments.served,
        host=arguments.host,
        port=arguments.port,
        token_file=arguments.token_file,
        settings=settings,
    )
    return 0


def settings_of(arguments: argparse.Namespace) -> Settings:
    """The limits that the arguments give.

    Raises:
        ConfigError: one of them is out of range.
    """
    for name, least, most in (
        ("port", 0, 65535),
        ("max_upload", 1, 1 << 20),
        ("max_minutes", 0.01, 24 * 60),
        ("queue", 1, 10_000),
        ("timeout", 0.1, 24 * 3600),
        ("decoders", 1, 256),
        ("batch_size", 1, 4096),
    ):
        value = getattr(arguments, name)
        if not (math.isfinite(value) and least <= value <= most):
            raise ConfigError(f"--{name.replace('_', '-')} {value}: must be from {least} to {most}")
    return Settings(
        upload_bytes=arguments.max_upload << 20,
        audio_seconds=60 * arguments.max_minutes,
        uploads=arguments.queue,
        decoders=arguments.decoders,
        request_seconds=arguments.timeout,
        batch_size=arguments.batch_size,
    )
