"""Tags of a file over time as one HTML page that plays the audio and moves along; nothing is loaded from elsewhere."""

import base64
import html
import json
import mimetypes
import os
import urllib.parse
from pathlib import Path
from typing import Any

import numpy as np

from orpheus.base import files
from orpheus.data.audio.finding import printable
from orpheus.errors import ConfigError

MAX_EMBEDDED = 64 * 2**20
MAX_ROWS = 60


def write(
    path: str | os.PathLike,
    prediction: Any,
    audio: str | os.PathLike,
    *,
    title: str = "",
    top: int = 10,
    embed: bool = False,
) -> None:
    """Write the page.

    Args:
        path: HTML file.
        prediction: `Tagger.predict`'s: classes, starts in seconds, window_seconds, scores (windows, classes) in 0…1,
            which are stored in steps of 1/255.
        audio: The file it is of. The page links to it relative to `path`, so both can be moved together.
        title: Of the page; the audio's name if empty.
        top: Tags shown, those with the highest score in any window; at most `MAX_ROWS`.
        embed: Put the audio into the page instead of linking to it.

    Raises:
        ConfigError: the audio is too large to be embedded.
    """
    path, audio = Path(path), Path(audio)
    order = np.argsort(-prediction.scores.max(axis=0), kind="stable")[: min(top, MAX_ROWS)]
    levels = np.rint(np.clip(prediction.scores[:, order].T, 0, 1) * 255).astype(np.uint8)  # (tags, windows)
    starts = np.maximum.accumulate(prediction.starts)
    data = {
        "tags": [prediction.classes[i] for i in order],
        "starts": [round(float(start), 3) for start in starts],
        "window": round(float(prediction.window_seconds), 3),
        "levels": base64.b64encode(levels.tobytes()).decode(),
    }
    # "<" written as an escape: a tag called "</script>" must not end the script.
    content = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    page = _PAGE.replace("@TITLE@", html.escape(printable(title or audio.name)))
    page = page.replace("@AUDIO@", html.escape(_source(path, audio, embed))).replace("@DATA@", content)
    with files.atomic(path) as file:
        file.write(page)


def _source(path: Path, audio: Path, embed: bool) -> str:
    """Where the page finds the audio: a relative link, or the bytes themselves."""
    if not embed:
        relative = os.path.relpath(audio.absolute(), path.absolute().parent)
        return urllib.parse.quote(os.fsencode(Path(relative).as_posix()))
    size = audio.stat().st_size
    if size > MAX_EMBEDDED:
        raise ConfigError(
            f"{audio}: {size / 2**20:.0f} MiB are too many to embed (at most {MAX_EMBEDDED >> 20}); "
            "leave --embed-audio out, and the page links to the file"
        )
    kind = mimetypes.guess_type(audio.name)[0] or "audio/mpeg"
    return f"data:{kind};base64,{base64.b64encode(audio.read_bytes()).decode()}"


_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>@TITLE@</title>
<style>
:root { color-scheme: light dark; --back: #fff; --fore: #222; --soft: #888; --mark: #0a84ff; }
@media (prefers-color-scheme: dark) { :root { --back: #16181c; --fore: #e4e4e4; --soft: #909090; } }
body { background: var(--back); color: var(--fore); font: 14px/1.4 system-ui, sans-serif; margin: 1rem auto; max-width: 1400px; padding: 0 1rem; }
h1 { font-size: 1.15rem; margin: 0 0 .5rem; overflow-wrap: anywhere; }
audio { width: 100%; }
.bar { display: flex; gap: .5rem; align-items: center; flex-wrap: wrap; margin: .5rem 0; }
.bar button { font: inherit; padding: .1rem .6rem; }
#now { font-variant-numeric: tabular-nums; min-width: 16ch; }
#said { color: var(--soft); flex: 1; text-align: right; min-height: 1.4em; }
#map { position: relative; touch-action: pan-y; cursor: crosshair; user-select: none; }
canvas { display: block; width: 100%; }
#head { position: absolute; left: 0; top: 0; width: 2px; margin-left: -1px; background: var(--mark); pointer-events: none; }
#missing { color: #b3261e; }
</style>
</head>
<body>
<h1>@TITLE@</h1>
<audio id="audio" controls preload="metadata" src="@AUDIO@"></audio>
<p id="missing" hidden>The audio cannot be played: keep it where it was beside this page, or write the page with --embed-audio.</p>
<div class="bar">
  <span id="now"></span>
  <button id="out" title="zoom out (-)">−</button><button id="in" title="zoom in (+)">+</button>
  <button id="all" title="whole file (0)">whole</button>
  <label><input type="checkbox" id="follow" checked> follow</label>
  <span id="said" role="status"></span>
</div>
<div id="map"><canvas id="rows" role="img" tabindex="0" aria-label="probability of each tag over time"></canvas><div id="head"></div></div>
<canvas id="whole" role="img" aria-label="the whole file, and the part that is shown"></canvas>
<script id="data" type="application/json">@DATA@</script>
<script>
"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const by = id => document.getElementById(id);
const audio = by("audio"), rows = by("rows"), whole = by("whole"), head = by("head");
const raw = atob(data.levels), windows = data.starts.length, tags = data.tags;
const levels = Uint8Array.from(raw, c => c.charCodeAt(0));
const end = data.starts[windows - 1] + data.window;
const ROW = 24, AXIS = 22, LABEL = 150;
let from = 0, to = end, time = 0, width = 0;

// Dark purple to yellow, the order of lightness kept.
const STOPS = [[13, 8, 42], [84, 15, 109], [187, 55, 84], [249, 140, 10], [252, 255, 164]];
const COLOURS = Array.from({length: 256}, (_, i) => {
  const x = i / 255 * (STOPS.length - 1), a = Math.min(Math.floor(x), STOPS.length - 2), f = x - a;
  return STOPS[a].map((v, c) => Math.round(v + (STOPS[a + 1][c] - v) * f));
});
const clock = s => {
  const t = Math.max(0, s), h = Math.floor(t / 3600), m = Math.floor(t / 60) % 60, pad = n => String(n).padStart(2, "0");
  return (h ? h + ":" + pad(m) : m) + ":" + pad(Math.floor(t % 60));
};
// The last window that has begun at a time: windows overlap, and the newest counts.
function at(seconds) {
  let low = 0, high = windows - 1;
  while (low < high) { const mid = (low + high + 1) >> 1; if (data.starts[mid] <= seconds) low = mid; else high = mid - 1; }
  return low;
}
function paint(canvas, first, last, left, height, perRow) {
  const scale = window.devicePixelRatio || 1, across = canvas.clientWidth;
  canvas.style.height = height + "px";
  canvas.width = Math.round(across * scale); canvas.height = Math.round(height * scale);
  const g = canvas.getContext("2d"), x0 = Math.round(left * scale), n = canvas.width - x0;
  if (n < 2) return g;
  const deep = Math.max(1, Math.round(perRow * scale)), image = g.createImageData(n, deep * tags.length);
  for (let x = 0; x < n; x++) {
    // A pixel shows the strongest window it covers, so that nothing short is lost in an hour.
    const a = at(first + (last - first) * x / n), b = Math.max(a, at(first + (last - first) * (x + 1) / n - 1e-9));
    for (let tag = 0; tag < tags.length; tag++) {
      let value = 0;
      for (let w = a; w <= b; w++) value = Math.max(value, levels[tag * windows + w]);
      const colour = COLOURS[value];
      for (let y = tag * deep; y < (tag + 1) * deep - (deep > 3 ? 1 : 0); y++) {
        const i = 4 * (y * n + x);
        image.data[i] = colour[0]; image.data[i + 1] = colour[1]; image.data[i + 2] = colour[2]; image.data[i + 3] = 255;
      }
    }
  }
  g.putImageData(image, x0, 0);
  g.scale(scale, scale);
  return g;
}
function draw() {
  width = rows.clientWidth - LABEL;
  const style = getComputedStyle(document.body), g = paint(rows, from, to, LABEL, ROW * tags.length + AXIS, ROW);
  g.fillStyle = style.color; g.font = "13px system-ui, sans-serif"; g.textBaseline = "middle";
  tags.forEach((tag, i) => g.fillText(tag, 0, i * ROW + ROW / 2, LABEL - 8));
  const steps = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200];
  const step = steps.find(s => (to - from) / s * 60 <= width) || 14400;
  g.fillStyle = style.color; g.textAlign = "center";
  for (let k = Math.ceil(from / step); k * step <= to; k++) {
    const s = k * step, x = place(s);
    g.fillRect(x, ROW * tags.length, 1, 4);
    g.fillText(step < 1 ? s.toFixed(1) : clock(s), Math.min(x, LABEL + width - 20), ROW * tags.length + 13);
  }
  head.style.height = ROW * tags.length + "px";
  const o = paint(whole, 0, end, LABEL, Math.min(48, 4 * tags.length), Math.min(48, 4 * tags.length) / tags.length);
  o.strokeStyle = "#0a84ff"; o.lineWidth = 2;
  o.strokeRect(LABEL + from / end * width + 1, 1, Math.max(3, (to - from) / end * width - 2), Math.min(48, 4 * tags.length) - 2);
  move();
}
const place = s => LABEL + (s - from) / (to - from) * width;
const seconds = x => Math.min(end, Math.max(0, from + (x - LABEL) / width * (to - from)));
function move() {
  const x = place(time);
  head.style.left = x + "px";
  head.style.visibility = x >= LABEL - 1 && x <= LABEL + width + 1 ? "visible" : "hidden";
  by("now").textContent = clock(time) + " / " + clock(end);
}
function show(a, b) {
  const length = Math.min(end, Math.max(Math.min(end, 4 * data.window / 10), b - a));
  from = Math.min(Math.max(0, a), end - length); to = from + length;
  draw();
}
function zoom(factor, about) { show(about - (about - from) * factor, about + (to - about) * factor); }
function seek(s) {
  time = Math.min(end, Math.max(0, s));
  if (audio.readyState > 0) audio.currentTime = time;
  if (time < from || time > to) show(time - (to - from) / 2, time + (to - from) / 2); else move();
}
function tick() {
  if (!audio.paused) {
    time = audio.currentTime;
    // Follow like a page of notes: turn when the line has left nine tenths of it.
    if (by("follow").checked && (time > from + 0.9 * (to - from) || time < from) && to < end)
      show(time - 0.1 * (to - from), time + 0.9 * (to - from));
    move();
    requestAnimationFrame(tick);
  }
}
audio.addEventListener("play", () => requestAnimationFrame(tick));
audio.addEventListener("seeked", () => { time = audio.currentTime; move(); });
audio.addEventListener("loadedmetadata", () => { if (time) audio.currentTime = time; });
audio.addEventListener("error", () => { by("missing").hidden = false; });
rows.addEventListener("click", e => { if (!dragged && e.offsetX >= LABEL) seek(seconds(e.offsetX)); });
rows.addEventListener("wheel", e => {
  e.preventDefault();
  const share = (to - from) / width;
  if (e.shiftKey || Math.abs(e.deltaX) > Math.abs(e.deltaY)) {
    const shift = (e.deltaX || e.deltaY) * share; show(from + shift, to + shift);
  } else zoom(Math.exp(e.deltaY / 400), seconds(e.offsetX));
}, {passive: false});
let grabbed = null, dragged = false;
rows.addEventListener("pointerdown", e => { grabbed = [e.clientX, from, to]; dragged = false; });
window.addEventListener("pointermove", e => {
  if (!grabbed || Math.abs(e.clientX - grabbed[0]) < 4) return;
  dragged = true;
  const shift = (grabbed[0] - e.clientX) / width * (grabbed[2] - grabbed[1]);
  show(grabbed[1] + shift, grabbed[2] + shift);
});
window.addEventListener("pointerup", () => { grabbed = null; });
rows.addEventListener("mousemove", e => {
  const tag = Math.floor(e.offsetY / ROW);
  if (e.offsetX < LABEL || tag < 0 || tag >= tags.length) { by("said").textContent = ""; return; }
  const s = seconds(e.offsetX);
  by("said").textContent = tags[tag] + " " + (levels[tag * windows + at(s)] / 255).toFixed(2) + " at " + clock(s);
});
whole.addEventListener("click", e => {
  const s = Math.max(0, (e.offsetX - LABEL) / width * end); seek(s); show(s - (to - from) / 2, s + (to - from) / 2);
});
by("in").onclick = () => zoom(0.5, time >= from && time <= to ? time : (from + to) / 2);
by("out").onclick = () => zoom(2, (from + to) / 2);
by("all").onclick = () => show(0, end);
document.addEventListener("keydown", e => {
  if (/INPUT|BUTTON|AUDIO/.test(e.target.tagName) || e.ctrlKey || e.metaKey || e.altKey) return;
  const act = {" ": () => audio.paused ? audio.play() : audio.pause(), ArrowLeft: () => seek(time - 5), ArrowRight: () => seek(time + 5),
    "+": by("in").onclick, "-": by("out").onclick, "0": by("all").onclick}[e.key];
  if (act) { e.preventDefault(); act(); }
});
new ResizeObserver(draw).observe(by("map"));
draw();
</script>
</body>
</html>
"""
