"""What every command shares: the parser's look, one-line errors, exit codes, logging and progress bars."""

import argparse
import atexit
import contextlib
import errno
import functools
import gc
import importlib.abc
import importlib.util
import logging
import os
import re
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

from orpheus.base import files
from orpheus.errors import ConfigError, DataError

# "I0000 00:00:1795613859.600840   26152 port.cc:153] …", and what absl says before its first such line.
_LIBRARY_LOG = re.compile(rb"[IWE]\d{4} \d\d:\d\d:[\d.]+ |WARNING: All log messages before absl::InitializeLog")
# Each makes one line of an error of a library below that a user can do something about, or None of others.
EXPLAINERS: list[Callable[[BaseException], DataError | None]] = []
EXIT_OK, EXIT_PARTIAL, EXIT_BAD_INPUT, EXIT_INTERRUPTED, EXIT_TERMINATED = 0, 1, 2, 130, 143
_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_PLACE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.EIO)


class Terminated(KeyboardInterrupt):
    """SIGTERM, which ends a command as Ctrl-C does: what is half written is removed, a training saved."""


class _Formatter(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Defaults behind each option, the example's line breaks kept."""

    def _get_help_string(self, action):
        # A switch has no value to show; 0 has, although it equals False.
        if action.nargs == 0 or action.default is None or action.default in (argparse.SUPPRESS, []):
            return action.help
        if isinstance(action.default, list | tuple) and "%(default)" not in (action.help or ""):
            text = " ".join(map(str, action.default)).replace("%", "%%")  # what comes back is formatted by %
            return f"{action.help} (default: {text})"
        return super()._get_help_string(action)


class Parser(argparse.ArgumentParser):
    """An `ArgumentParser` whose errors are one line and whose help ends with an example."""

    def __init__(self, *args: Any, example: str = "", **kwargs: Any):
        if example:
            kwargs["epilog"] = f"example:\n  {example}"
        kwargs |= {"formatter_class": _Formatter, "allow_abbrev": False}
        super().__init__(*args, **kwargs)

    def error(self, message: str) -> NoReturn:
        self.exit(EXIT_BAD_INPUT, f"{self.prog}: error: {message} (see {self.prog} --help)\n")


def parser(module: str, description: str, *, example: str = "") -> Parser:
    """The parser of a command, with the option that all of them have.

    Args:
        module: How the command is called, for example ``"orpheus.train"``.
        description: What it does, one or two sentences.
        example: One command line that works.
    """
    result = Parser(prog=f"python -m {module}", description=description, example=example)
    _add_verbose(result, 1)
    return result


class SubParser(Parser):
    """The parser of a sub-command, behind which -v is understood as well as before it."""

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        _add_verbose(self, argparse.SUPPRESS)  # a default of its own would replace what was said before it


def _add_verbose(to: Parser, default: Any) -> None:
    to.add_argument(
        "-v",
        "--verbose",
        nargs="?",
        type=int,
        choices=(0, 1, 2, 3),
        const=2,
        default=default,
        metavar="LEVEL",
        help="0 errors only, 1 progress, 2 details, 3 TensorFlow's messages too",
    )


def output_file(*suffixes: str) -> Callable[[str], Path]:
    """The type of an option that names a file to write: what cannot be written is refused with the command line.

    Args:
        suffixes: Ends of the name, as ``".png"``, one of which it must have; none for any.
    """
    return functools.partial(_output, suffixes=suffixes, folder=False)


def output_folder(path: str) -> Path:
    """The type of an option that names a folder to write to; see `output_file`."""
    return _output(path, suffixes=(), folder=True)


def _output(path: str, *, suffixes: Sequence[str], folder: bool) -> Path:
    try:
        return files.check_output(path, suffixes=suffixes, folder=folder)
    except ConfigError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def run(
    command: Parser,
    body: Callable[[argparse.Namespace], int | None],
    argv: Sequence[str] | None = None,
    *,
    leaves: bool | None = None,
) -> int:
    """Parse, run the body, and turn what a user can cause into one line and an exit code.

    Args:
        command: Its parser.
        body: What it does.
        argv: Arguments; None for those of the process.
        leaves: The process ends with this call; None: where `argv` is None.

    Returns:
        What `body` returns (None counts as 0), 2 for `ConfigError`, `DataError` and what cannot be written, 130 after
        Ctrl-C, 143 after SIGTERM.
    """
    code = _run(command, body, argv)
    if leaves or (leaves is None and argv is None):
        _leave(code)
    return code


def _run(command: Parser, body: Callable[[argparse.Namespace], int | None], argv: Sequence[str] | None) -> int:
    arguments = command.parse_args(argv)
    verbose = arguments.verbose
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "0" if verbose > 2 else "3")
    if "tensorflow" not in sys.modules:
        sys.meta_path.insert(0, _Quickly(quietly=verbose <= 2))
    level = (logging.ERROR, logging.INFO, logging.DEBUG, logging.DEBUG)[verbose]
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    for name in ("orpheus", "tools"):
        logging.getLogger(name).setLevel(level)
    try:
        with _terminable():
            return body(arguments) or EXIT_OK
    except (ConfigError, DataError) as error:
        return _fail(command, str(error))
    except OSError as error:
        if error.errno not in (*_SPACE, *_PLACE):
            raise
        cure = "free some space or write elsewhere" if error.errno in _SPACE else "write elsewhere"
        return _fail(command, f"{error.filename or 'output'}: {os.strerror(error.errno)}; {cure}")
    except Exception as error:
        explained = next((found for explain in EXPLAINERS if (found := explain(error)) is not None), None)
        if explained is None:
            raise
        return _fail(command, str(explained))
    except Terminated:
        print(f"{command.prog}: terminated", file=sys.stderr)
        return EXIT_TERMINATED
    except KeyboardInterrupt:
        print(f"{command.prog}: interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM as an exception, once: the block's own cleaning up is not interrupted by the next."""

    def end(*_: object) -> NoReturn:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise Terminated

    if threading.current_thread() is not threading.main_thread():  # nobody else may set handlers
        yield
        return
    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _fail(command: Parser, message: str) -> int:
    print(f"{command.prog}: error: {' '.join(message.split())}", file=sys.stderr)
    return EXIT_BAD_INPUT


def _leave(code: int) -> None:
    """Make the end of the process short, and end it at once where the S3 client of tensorflow-io was loaded.

    It can abort while the process is being taken down, after all work is done ("pure virtual method called").
    """
    gc.freeze()  # else all objects are looked at once more, for nothing
    if "tensorflow_io" in sys.modules:
        atexit._run_exitfuncs()  # what Python itself would still do: temporary folders, logs
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


class _Quickly(importlib.abc.MetaPathFinder):
    """Loads TensorFlow and Keras, each once, in less time and without what their libraries log meanwhile.

    TensorFlow 2.21 logs before it reads TF_CPP_MIN_LOG_LEVEL. Looking for garbage among the million objects that they make,
    over and over, took a second; and half a second was lost to what Keras loads for pictures and wrappers if it is there.
    """

    TAKES = ("tensorflow", "keras")
    LEFT_OUT = ("matplotlib", "sklearn")  # of Keras, which does without where they are missing

    def __init__(self, *, quietly: bool):
        self.looking: set[str] = set()
        self.loading: set[str] = set()
        self.quietly = quietly

    def find_spec(self, fullname, path=None, target=None):
        if self.TAKES[-1] in self.loading and fullname in self.LEFT_OUT:
            raise ModuleNotFoundError(f"{fullname} is not needed", name=fullname)
        if fullname not in self.TAKES or fullname in self.looking:
            return None
        self.looking.add(fullname)
        try:
            spec = importlib.util.find_spec(fullname)
        finally:
            self.looking.remove(fullname)
        # Who looks need not load: what follows belongs to the loading.
        if spec is not None and spec.loader is not None:
            load = spec.loader.exec_module

            def load_quickly(module: ModuleType) -> None:
                self.loading.add(fullname)
                try:
                    with _without_garbage_collection(), self._logs():
                        load(module)
                finally:
                    self.loading.discard(fullname)
                if not self.loading and all(name in sys.modules for name in self.TAKES) and self in sys.meta_path:
                    sys.meta_path.remove(self)

            spec.loader.exec_module = load_quickly  # type: ignore[method-assign]
        return spec

    def _logs(self) -> contextlib.AbstractContextManager:
        return _without_library_logs() if self.quietly else contextlib.nullcontext()


@contextlib.contextmanager
def _without_garbage_collection() -> Iterator[None]:
    """No search for garbage meanwhile, nor ever after in what was made: modules stay."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was:
            gc.enable()


@contextlib.contextmanager
def _without_library_logs() -> Iterator[None]:
    """What C++ libraries log to stderr is dropped, everything else that comes there is shown at the end."""
    sys.stderr.flush()
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as aside:
        os.dup2(aside.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(stderr, 2)
            os.close(stderr)
            aside.seek(0)
            os.write(2, b"".join(line for line in aside if not _LIBRARY_LOG.match(line)))


def progress(iterable: Iterable | None = None, **options: Any):
    """A tqdm bar on stderr with rate and time left; silent where stderr is no terminal and ORPHEUS_PROGRESS is unset."""
    from tqdm import tqdm

    options.setdefault("dynamic_ncols", True)
    options.setdefault("disable", None if "ORPHEUS_PROGRESS" not in os.environ else False)
    return tqdm(iterable, **options)
