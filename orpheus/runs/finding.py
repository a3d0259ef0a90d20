"""Finds a run by its path or its number."""

from pathlib import Path

from orpheus.runs.folder import Run


def find_run(name: str, data_dir: Path | str | None = None) -> Run:
    """A run by its folder, or by its name (model_1) in the models folder of a data folder.

    Args:
        name: Of either, or the URL of a run in object storage.
        data_dir: The data folder; ``data`` where it has such a run if None.

    Raises:
        DataError: neither is there.
    """
    if "://" in name:
        from orpheus.runs import remote  # loads TensorFlow, whose file systems open it

        return remote.open_run(name)
    named = Path(data_dir or "data").expanduser() / "models" / name
    if Path(name).expanduser().is_dir() or not (named.is_dir() or data_dir):
        return Run.open(name)
    return Run.open(named)
