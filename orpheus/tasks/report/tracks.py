"""A few tracks of a report to look at and listen to: right and wrong tags, tags over time, the sound itself."""

import base64
import io
import logging
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from orpheus.data.audio import reading
from orpheus.data.audio.spec import AudioSpec
from orpheus.errors import DataError
from orpheus.tasks.report import svg
from orpheus.tasks.report.html import Section, escape
from orpheus.tasks.report.reported_runs import ReportedRun
from orpheus.tasks.report.tagging import thresholds
from orpheus.tasks.scores import Scores

log = logging.getLogger(__name__)
_ROWS, _LEFT, _WIDTH, _STEP = 12, 150, 1090, 20


def choose(scores: Scores, paths: Mapping[str, str], count: int) -> list[int]:
    """Tracks from the best to the worst scored, evenly spread; only those whose audio is there, if any is.

    Args:
        scores: Of the tracks.
        paths: Track id → audio file.
        count: How many at most.
    """
    p = np.clip(scores.scores.astype(np.float64), 1e-6, 1 - 1e-6)
    loss = -np.where(scores.truth, np.log(p), np.log(1 - p)).mean(axis=1)
    there = [index for index, track in enumerate(scores.ids) if Path(paths.get(track, "")).is_file()]
    order = sorted(there or range(len(scores.ids)), key=lambda index: (loss[index], scores.ids[index]))
    places = np.unique(np.linspace(0, len(order) - 1, min(count, len(order))).round().astype(int))
    return [order[place] for place in places]


def section(
    reported: Sequence[ReportedRun],
    paths: Mapping[str, str],
    *,
    count: int = 4,
    seconds: float = 30.0,
    progress: Callable[[Iterable], Iterable] = lambda items: items,
) -> Section:
    """Tracks as the runs tag them, with taggrams and players where their audio is found.

    Args:
        reported: Runs; their scores are needed, and their models where there is audio.
        paths: Track id → audio file.
        count: Tracks, from the best scored by the first run to its worst.
        seconds: Length of what can be heard of each.
        progress: Wraps the tracks.
    """
    evaluated = [(number, one, one.scores) for number, one in enumerate(reported) if one.scores is not None]
    if not evaluated or count < 1:
        return Section("Tracks", "")
    first = evaluated[0][2]
    chosen = choose(first, paths, count)
    limits = {number: thresholds(one)[0] for number, one, _ in evaluated}
    taggers: dict[int, Any] = {}
    if any(Path(paths.get(first.ids[index], "")).is_file() for index in chosen):
        from orpheus.tasks.tagging.tagger import Tagger

        taggers = {number: Tagger(one.run) for number, one, _ in evaluated}
    parts = []
    for place, index in enumerate(progress(chosen)):
        track = first.ids[index]
        kind = "best scored" if place == 0 else "worst scored" if place == len(chosen) - 1 else "in between"
        artist = f" · {first.groups[index]}" if first.unit == "artist" else ""
        body = f"<strong>{escape(track)}</strong>{escape(artist)} <span class=legend>{kind}</span>"
        player = ""
        for number, one, scores in evaluated:
            if track not in scores.ids:
                continue
            row = scores.ids.index(track)
            colour = svg.colour(number)
            name = (
                f'<i class="swatch" style="background:{colour}"></i>{escape(one.name)}: ' if len(reported) > 1 else ""
            )
            body += f'<div class="legend">{name}{chips(scores, row, limits[number])}</div>'
            if number in taggers and Path(paths.get(track, "")).is_file():
                picture, sound = _listen(taggers[number], paths[track], scores, row, seconds)
                body, player = body + picture, player or sound
        parts.append(f'<div class="track">{body}{player}</div>')
    note = (
        "Green: right; dashed: annotated, not found; red: found, not annotated; each with its mean probability, at the "
        "thresholds of the confusion table. The sound is what the model hears: mono, at its sample rate. A click in a "
        "picture plays from there; ● marks annotated tags."
    )
    return Section("Tracks", "".join(parts), note)


def chips(scores: Scores, index: int, limits: np.ndarray) -> str:
    """The tags of a track: right, missed, and wrong ones."""
    found = scores.scores[index] >= np.where(np.isnan(limits), np.inf, limits)
    truth = scores.truth[index]
    parts = []
    for kind, wanted in (("hit", truth & found), ("miss", truth & ~found), ("false", ~truth & found)):
        for c in sorted(np.flatnonzero(wanted), key=lambda c: -scores.scores[index, c]):
            parts.append(f'<span class="chip {kind}">{escape(scores.classes[c])} {scores.scores[index, c]:.2f}</span>')
    return "".join(parts) or "<span class=legend>no tag, neither annotated nor found</span>"


def _listen(tagger: Any, path: str, scores: Scores, index: int, seconds: float) -> tuple[str, str]:
    """Picture and player of one file; a remark and nothing where it cannot be used."""
    try:
        samples, rate = excerpt(path, tagger.spec.sample_rate, seconds)
        with tempfile.TemporaryDirectory() as folder:
            import soundfile

            cut = Path(folder) / "cut.wav"
            soundfile.write(cut, samples, rate)
            prediction = tagger.predict(cut, hop_seconds=min(0.5, tagger.window_seconds))
    except DataError as error:
        log.warning("%s", error)
        return f"<p class=note>{escape(error)}</p>", ""
    picture = taggram(prediction, scores.classes, scores.truth[index], len(samples) / rate)
    return picture, f'<audio controls preload="metadata" src="{encode(samples, rate)}"></audio>'


def excerpt(path: str, sample_rate: int, seconds: float) -> tuple[np.ndarray, int]:
    """The first seconds of a file, mono: (samples,) int16, and their rate.

    Raises:
        DataError: the file cannot be used.
    """
    spec, blocks, wanted = AudioSpec("waveform", sample_rate=sample_rate), [], int(seconds * sample_rate)
    for block in reading.stream(path, spec):
        blocks.append(block)
        if sum(map(len, blocks)) >= wanted:
            break
    return np.concatenate(blocks)[:wanted], sample_rate


def encode(samples: np.ndarray, rate: int) -> str:
    """Sound as a data: URI: mp3, or what libsndfile can where it cannot write that."""
    import soundfile

    for kind, mime in (("MP3", "audio/mpeg"), ("OGG", "audio/ogg"), ("WAV", "audio/wav")):
        if kind not in soundfile.available_formats():
            continue
        encoded = io.BytesIO()
        try:
            soundfile.write(encoded, samples, rate, format=kind)
        except soundfile.LibsndfileError:  # mp3 has only certain sample rates
            continue
        return f"data:{mime};base64,{base64.b64encode(encoded.getvalue()).decode()}"
    raise DataError("libsndfile can write neither mp3 nor ogg nor wav; reinstall soundfile")


def taggram(prediction: Any, classes: Sequence[str], truth: np.ndarray, seconds: float) -> str:
    """Tags over time: the annotated ones and the strongest others, with a line that the player moves."""
    import matplotlib

    strongest = np.argsort(-prediction.scores.max(axis=0), kind="stable")
    wanted = [c for c in strongest if truth[c]][:_ROWS]
    wanted += [c for c in strongest if not truth[c]][: max(_ROWS - len(wanted), 3)]
    wanted.sort(key=lambda c: -float(prediction.scores[:, c].mean()))
    # A pixel of time shows the window whose middle is nearest.
    middles = prediction.starts + prediction.window_seconds / 2
    times = (np.arange(400) + 0.5) / 400 * seconds
    nearest = np.abs(times[:, None] - middles[None, :]).argmin(axis=1)
    image = matplotlib.colormaps["magma"](np.clip(prediction.scores[nearest][:, wanted].T, 0, 1))
    width, height = _WIDTH - _LEFT - 22, _STEP * len(wanted)
    parts = [
        f'<image x="{_LEFT}" y="4" width="{width}" height="{height}" preserveAspectRatio="none" '
        f'style="image-rendering:pixelated" href="{svg.png(image)}"/>'
    ]
    for row, c in enumerate(wanted):
        name = f"{'● ' if truth[c] else ''}{classes[c]}"
        y = 4 + _STEP * row + 14
        parts.append(f'<text class="name" x="{_LEFT - 8}" y="{y}" text-anchor="end">{escape(name)}</text>')
    for value in svg.ticks(0, seconds, 8):
        x = svg.number(_LEFT + width * value / seconds)
        parts.append(f'<text x="{x}" y="{height + 19}" text-anchor="middle">{svg.label(value)} s</text>')
    parts.append(
        f'<line class="cursor" x1="{_LEFT}" x2="{_LEFT}" y1="0" y2="{height + 6}" data-left="{_LEFT}" data-width="{width}" '
        f'data-seconds="{seconds:.3f}" style="stroke:#38c6f4;stroke-width:2"/>'
    )
    return svg.svg(_WIDTH, height + 26, "".join(parts), kind="gram")
