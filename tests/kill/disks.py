"""A folder of this process alone that is nearly full or read-only, by a mount that nobody else sees and that ends with it."""

import ctypes
import os
import shutil
from pathlib import Path

_NEWNS, _REMOUNT, _READ_ONLY, _PRIVATE = 0x20000, 0x20, 0x1, 0x40000 | 0x4000
_PAGE = 4096
FILLER = ".filler"
_libc = ctypes.CDLL(None, use_errno=True)


def may_mount() -> bool:
    """Whether this machine lets us: tried in a process of its own."""
    child = os.fork()
    if child == 0:
        try:
            _own_mounts()
        except OSError:
            os._exit(1)
        os._exit(0)
    return os.waitpid(child, 0)[1] == 0


def put_on(folder: Path, *, left: int | None) -> None:
    """Put what is in a folder on a disk in memory, in a process without threads.

    Args:
        folder: Absolute.
        left: Bytes that are left on it; None for a disk that is read-only.
    """
    _own_mounts()
    aside = folder.with_name(f"{folder.name}.aside")
    shutil.copytree(folder, aside)
    _mount("tmpfs", folder, "tmpfs", 0, f"size={used(aside) + 64 * _PAGE + (left or 0)}")
    shutil.copytree(aside, folder, dirs_exist_ok=True)
    shutil.rmtree(aside)
    if left is None:
        _mount("tmpfs", folder, "tmpfs", _REMOUNT | _READ_ONLY, "")
        return
    free = os.statvfs(folder).f_bavail * _PAGE - left
    if free > 0:
        (folder / FILLER).write_bytes(b"\0" * free)


def used(folder: Path) -> int:
    """Bytes that the files in a folder take on such a disk, or a few more."""
    return sum((path.lstat().st_size // _PAGE + 1) * _PAGE for path in folder.rglob("*"))


def _own_mounts() -> None:
    if _libc.unshare(_NEWNS):
        raise OSError(ctypes.get_errno(), "unshare")
    _mount("none", Path("/"), "", _PRIVATE, "")


def _mount(source: str, target: Path, kind: str, flags: int, options: str) -> None:
    if _libc.mount(source.encode(), os.fsencode(target), kind.encode(), ctypes.c_ulong(flags), options.encode()):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(target))
