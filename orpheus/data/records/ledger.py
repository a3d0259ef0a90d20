"""Which shards of a folder are complete: their rows in manifest.jsonl and failures.jsonl, whoever makes them and where.

One machine that fills a folder of its own appends a shard's rows to both lists under a lock. In object storage, and where
Beam's workers are at it, nobody can append: each shard's rows are a file of their own beside it, written last and so the
mark that it is complete, and `tidy` collects them.
"""

import contextlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from orpheus.base import files, locks, storage
from orpheus.data.records import format
from orpheus.data.records.tracks import Track
from orpheus.errors import DataError

PART = ".rows.json"
Lists = dict[str, list[dict]]  # shard → rows


class Ledger:
    """The lists of one folder.

    Args:
        folder: Of this machine, or a URL.
        plan: Shard → its tracks.
    """

    def __init__(self, folder: str, plan: Mapping[str, Sequence[Track]]):
        self.folder, self.plan = folder, plan

    def path(self, name: str) -> str:
        """Full path of a name in the folder."""
        return os.path.join(self.folder, name)

    def add(self, name: str, rows: Sequence[dict], failures: Sequence[dict]) -> None:
        """Note a shard that is complete."""
        if storage.is_url(self.folder):
            self.add_part(name, rows, failures)
            return
        with _locked(self.folder):
            _append(self.path(format.FAILURES), failures)
            _append(self.path(format.MANIFEST), rows)

    def add_part(self, name: str, rows: Sequence[dict], failures: Sequence[dict]) -> None:
        """Note a shard that is complete in a file of its own, from any machine."""
        value = {"rows": list(rows), "failures": list(failures)}
        files.write_json(self.path(f".{name}{PART}"), value, opener=storage.atomic)

    def clean(self, name: str) -> None:
        """Remove what a killed run left of an unfinished shard."""
        if not storage.is_url(self.folder):
            for leftover in Path(self.folder).glob(f".{name}.*.tmp"):
                leftover.unlink()

    def tidy(self) -> tuple[Lists, Lists]:
        """Bring manifest and failures into the plan's order, without what a killed run left of unfinished shards.

        Returns:
            Of every complete shard, its manifest rows and its failures.
        """
        with _locked(self.folder):
            present = set(storage.listed(self.folder))
            texts = {name: self._text(name) if name in present else None for name in (format.MANIFEST, format.FAILURES)}
            rows, failures = map(_by_shard, texts.values())
            parts = [name for name in self.plan if f".{name}{PART}" in present]
            with ThreadPoolExecutor(16) as pool:  # object storage answers slowly, but many at a time
                for name, part in zip(parts, pool.map(self._part, parts), strict=True):
                    rows[name], failures[name] = part["rows"], part["failures"]
            done = [
                name for name in self.plan if self._is_done(name, rows.get(name, []), failures.get(name, []), present)
            ]
            kept = [{name: found.get(name, []) for name in done} for found in (rows, failures)]
            for (name, before), by_shard in zip(texts.items(), kept, strict=True):
                text = _lines(row for shard in by_shard.values() for row in shard)
                if text != before:
                    with storage.atomic(self.path(name)) as file:
                        file.write(text)
            # Another machine may be collecting too, from lists that it read before: parts stay until all are there.
            if len(done) == len(self.plan) or not storage.is_url(self.folder):
                for name in set(parts) & set(done):
                    storage.remove(self.path(f".{name}{PART}"))
        return kept[0], kept[1]

    def _is_done(self, name: str, rows: Sequence[dict], failures: Sequence[dict], present: set[str]) -> bool:
        """Whether a shard is complete: every track of it is in one of the lists, and the file is as long as it should be."""
        if sorted(row.get("id", "") for row in (*rows, *failures)) != sorted(t.track_id for t in self.plan[name]):
            return False
        if not rows or storage.is_url(self.folder):
            return not rows or name in present
        return name in present and os.path.getsize(self.path(name)) == format.shard_bytes(
            row.get("bytes", 0) for row in rows
        )

    def _part(self, name: str) -> dict:
        return files.read_json(self.path(f".{name}{PART}"), opener=storage.open_text)

    def _text(self, name: str) -> str:
        """A list as it is; where a run was killed a line may end in the middle of a character."""
        if not storage.is_url(self.folder):
            return Path(self.path(name)).read_bytes().decode("utf-8", errors="replace")
        with storage.open_text(self.path(name)) as file:
            return file.read()


def _by_shard(text: str | None) -> Lists:
    """Rows of a list that was being appended to when its run may have been killed: broken lines are left out."""
    found: Lists = {}
    for line in (text or "").split("\n"):
        with contextlib.suppress(DataError):
            row = files.parse_json(line, format.MANIFEST)
            if isinstance(row, dict) and all(isinstance(row.get(key, ""), str) for key in ("id", "shard")):
                found.setdefault(row.get("shard", ""), []).append(row)
    return found


def _append(path: str, rows: Sequence[dict]) -> None:
    with open(path, "a", encoding="utf-8", newline="\n") as file:
        file.write(_lines(rows))
        file.flush()
        os.fsync(file.fileno())


def _lines(rows: Iterable[dict]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def _locked(folder: str) -> contextlib.AbstractContextManager:
    """Keep other runs of this machine from the folder's lists meanwhile; object storage knows no locks."""
    return contextlib.nullcontext() if storage.is_url(folder) else locks.guarded(folder)
