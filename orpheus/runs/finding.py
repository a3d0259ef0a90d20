"""Finds a run by its path, its number or its time."""

import re
from pathlib import Path

from orpheus.errors import DataError
from orpheus.runs.folder import Run

_TIME = re.compile(r"\d{6}-\d{4,6}")


def find_run(name: str, data_dir: Path | str | None = None) -> Run:
    """A run by its folder, by its name (model_1) in the models folder of a data folder, or by the time it began.

    Args:
        name: Of either, or the URL of a run in object storage; or the time in the names of runs, ``260101-120000`` or
            ``260101-1200``, as the reference names what it resumes, of a run in ``runs``.
        data_dir: The data folder; ``data`` where it has such a run if None.

    Raises:
        DataError: none of them is there, or several runs began at that time.
    """
    if "://" in name:
        from orpheus.runs import remote  # loads TensorFlow, whose file systems open it

        return remote.open_run(name)
    if _TIME.fullmatch(name) and not Path(name).is_dir():
        found = sorted(path for path in Path("runs").glob(f"*_{name}*") if path.is_dir())
        if len(found) != 1:
            what = f"{len(found)} runs began then ({', '.join(path.name for path in found[:3])})" if found else "no run"
            raise DataError(f"runs/*_{name}: {what}; give the folder of the run")
        return Run.open(found[0])
    named = Path(data_dir or "data").expanduser() / "models" / name
    if Path(name).expanduser().is_dir() or not (named.is_dir() or data_dir):
        return Run.open(name)
    return Run.open(named)
