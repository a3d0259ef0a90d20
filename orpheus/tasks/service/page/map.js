// The map of a library: songs that sound alike lie together; the results of the search are highlighted.

import { $, count, el, fit, icon, say, short, themed, theirs } from "./dom.js";
import { Points, pixel } from "./points.js";
import { Gestures } from "./gestures.js";
import { Rows } from "./rows.js";
import { tracks } from "./tracks.js";

const GROUPS = 8; // colours
const REACH = 14; // CSS pixels around a pointer within which a song is found
const DEEPEST = 400; // times the whole map
const WAIT_MS = 60; // over a song, before its name is asked for
const SMOOTH = 120_000; // points that are drawn while the map moves

export class SongMap {
  constructor(app) {
    Object.assign(this, { app, canvas: $("map"), points: null, labels: [], model: null, hits: [], way: [], chosen: -1, song: null });
    this.view = { x: 0, y: 0, zoom: 1 };
    this.songs = new Map(); // number → what the service says of it
    this.rows = new Rows($("map-rows"), app);
    for (const [id, name, run] of [
      ["zoom-in", "add", () => this.zoom(1.6)],
      ["zoom-out", "minus", () => this.zoom(1 / 1.6)],
      ["zoom-all", "all", () => this.all()],
    ]) {
      $(id).append(icon(name));
      $(id).addEventListener("click", run);
    }
    this.gestures = new Gestures(this.canvas, {
      pan: (dx, dy) => this.pan(dx, dy),
      zoom: (factor, x, y) => this.zoom(factor, x, y),
      hover: (x, y) => this.hover(x, y),
      press: (x, y) => this.press(this.near(x, y)),
      middle: () => this.press(this.chosen),
      all: () => this.all(),
    });
    for (const name of ["focus", "blur"]) this.canvas.addEventListener(name, () => this.dirty());
    new ResizeObserver(() => this.dirty()).observe(this.canvas);
    document.addEventListener("themechange", () => this.dirty());
    app.player.addEventListener("change", () => this.dirty());
    $("map-list-link").addEventListener("click", (event) => {
      event.preventDefault();
      $("map-rows-title").focus();
    });
  }

  /** Load the map of a model, once. */
  async load(model) {
    if (this.model === model) return this.dirty();
    Object.assign(this, { model, points: null, labels: [], chosen: -1 });
    this.songs.clear();
    this.all();
    say($("map-problem"), "");
    $("map-status").textContent = "Loading …";
    try {
      const [bytes, { labels }] = await Promise.all([model.ask("map", {}, { as: "arrayBuffer" }), model.ask("map/labels")]);
      if (this.model !== model) return;
      const n = new DataView(bytes).getUint32(0, true);
      const numbers = new Uint32Array(bytes, 4, n);
      const places = new Float32Array(bytes, 4 + 4 * n, 2 * n);
      this.labels = labels.map((label, at) => ({ ...label, group: at % GROUPS }));
      this.points = new Points(numbers, places, (x, y) => this.group(x, y));
      $("map-status").textContent = count(n, "song");
      this.dirty();
    } catch (error) {
      this.model = null;
      $("map-status").textContent = "";
      say($("map-problem"), error.message);
    }
  }

  /** The colour of a place: that of the nearest label. */
  group(x, y) {
    let best = Infinity;
    let found = 0;
    for (const label of this.labels) {
      const distance = (label.x - x) ** 2 + (label.y - y) ** 2;
      if (distance < best) [best, found] = [distance, label.group];
    }
    return found;
  }

  /** Highlight results; `way` are those that are joined by a line. */
  highlight(hits, way, model) {
    Object.assign(this, { hits, way });
    this.rows.show(hits, model);
    $("map-none").hidden = hits.length > 0;
    this.dirty();
  }

  get scale() {
    return (0.47 * Math.min(this.canvas.clientWidth, this.canvas.clientHeight)) * this.view.zoom; // CSS pixels per unit
  }

  toMap(x, y) {
    const { clientWidth, clientHeight } = this.canvas;
    return [this.view.x + (x - clientWidth / 2) / this.scale, this.view.y - (y - clientHeight / 2) / this.scale];
  }

  toScreen(x, y) {
    const { clientWidth, clientHeight } = this.canvas;
    return [(x - this.view.x) * this.scale + clientWidth / 2, (this.view.y - y) * this.scale + clientHeight / 2];
  }

  pan(dx, dy) {
    const inside = (value) => Math.min(Math.max(value, -1), 1);
    this.view.x = inside(this.view.x - dx / this.scale);
    this.view.y = inside(this.view.y + dy / this.scale);
    this.moved();
  }

  /** Zoom about a point of the canvas, or about its middle. */
  zoom(factor, x = this.canvas.clientWidth / 2, y = this.canvas.clientHeight / 2) {
    const [beforeX, beforeY] = this.toMap(x, y);
    this.view.zoom = Math.min(Math.max(this.view.zoom * factor, 0.8), DEEPEST);
    const [afterX, afterY] = this.toMap(x, y);
    this.view.x += beforeX - afterX;
    this.view.y += beforeY - afterY;
    this.moved();
  }

  all() {
    this.view = { x: 0, y: 0, zoom: 1 };
    this.moved();
  }

  moved() {
    this.moving = performance.now();
    if (this.gestures?.keyboard) this.choose(this.nearMiddle());
    else this.card(this.song);
    this.dirty();
  }

  near(x, y) {
    return this.points ? this.points.nearest(...this.toMap(x, y), REACH / this.scale) : -1;
  }

  nearMiddle() {
    return this.points ? this.points.nearest(this.view.x, this.view.y, 90 / this.scale) : -1;
  }

  hover(x, y) {
    const at = x === null ? -1 : this.near(x, y);
    this.canvas.classList.toggle("over-song", at >= 0);
    if (at !== this.chosen) this.choose(at);
  }

  /** Show which song is meant. */
  choose(at) {
    this.chosen = at;
    this.dirty();
    clearTimeout(this.waiting);
    this.card(at < 0 ? null : this.songs.get(this.points.numbers[at]));
    if (at >= 0) this.waiting = setTimeout(() => this.named(at), WAIT_MS);
  }

  async named(at) {
    const song = await this.about(at);
    if (!song || at !== this.chosen) return;
    this.card(song);
    if (this.gestures.keyboard) $("map-live").textContent = [song.title || song.id, song.artist].filter(Boolean).map((text) => short(text)).join(", ");
  }

  /** What the service says of a song, or null where it cannot. */
  async about(at) {
    const number = this.points.numbers[at];
    const { model } = this;
    const known = this.songs.get(number) ?? this.hits.find((hit) => hit.number === number);
    if (known) return known;
    try {
      const song = await model.ask(`songs/${number}`);
      this.songs.set(number, song);
      say($("map-problem"), "");
      return song;
    } catch (error) {
      say($("map-problem"), error.message);
      return null;
    }
  }

  card(song) {
    const box = $("map-song");
    this.song = song ?? null;
    const at = song ? this.points?.find(song.number) ?? -1 : -1;
    box.hidden = at < 0;
    if (at < 0) return;
    if (box.number !== song.number) {
      box.number = song.number;
      box.replaceChildren(
        el("strong", {}, theirs(short(song.title || song.id, 90))),
        ...(song.artist ? [theirs(short(song.artist, 60))] : []),
        el("span", { class: "quiet" }, theirs(short(song.tags.slice(0, 4).join(", "), 90))),
      );
    }
    const [x, y] = this.toScreen(this.points.x[at], this.points.y[at]);
    const { clientWidth, clientHeight } = this.canvas;
    const left = Math.min(Math.max(x - box.offsetWidth / 2, 6), Math.max(clientWidth - box.offsetWidth - 6, 6));
    const top = y + 16 + box.offsetHeight > clientHeight ? y - 16 - box.offsetHeight : y + 16;
    box.style.transform = `translate(${Math.round(left)}px, ${Math.round(top)}px)`;
  }

  async press(at) {
    if (at < 0) return;
    this.choose(at);
    const { model } = this;
    const song = await this.about(at);
    if (!song) return;
    const [track] = tracks([song], model);
    if (track) this.app.player.press(track, [track]);
    else this.app.say(`${short(song.title || song.id)}: no audio`);
  }

  dirty() {
    this.frame ||= requestAnimationFrame(() => {
      this.frame = 0;
      this.draw();
    });
  }

  draw() {
    if ($("view-map").hidden || !this.points) return;
    const { width, height, ratio } = fit(this.canvas);
    if (!width || !height) return;
    const paint = this.canvas.getContext("2d", { alpha: false });
    if (this.image?.width !== this.canvas.width || this.image?.height !== this.canvas.height) {
      this.image = paint.createImageData(this.canvas.width, this.canvas.height);
      this.pixels = new Uint32Array(this.image.data.buffer);
    }
    const moving = performance.now() - (this.moving ?? 0) < 150;
    const larger = Math.min(Math.max((50_000 / this.points.n) ** 0.2, 0.8), 3); // points of which there are few
    const radius = Math.min(1.1 * larger * this.view.zoom ** 0.4, 5.5);
    const thinned = this.points.draw(this.pixels, this.canvas.width, this.canvas.height, { x: this.view.x, y: this.view.y, scale: this.scale * ratio }, {
      colours: Uint32Array.from({ length: GROUPS }, (_, at) => pixel(themed(`--m${at}`))),
      background: pixel(themed("--map")),
      radius: radius * ratio,
      opacity: this.hits.length ? 0.5 : 0.75,
      limit: moving ? SMOOTH : Infinity,
    });
    paint.setTransform(1, 0, 0, 1, 0, 0);
    paint.putImageData(this.image, 0, 0);
    paint.scale(ratio, ratio);
    this.marks(paint, radius);
    this.words(paint, width, height);
    if (thinned) {
      clearTimeout(this.whole);
      this.whole = setTimeout(() => this.dirty(), 200);
    }
  }

  /** Results, the way between them, the song that plays and the one that is meant. */
  marks(paint, radius) {
    const place = (number) => {
      const at = this.points.find(number);
      return at < 0 ? null : this.toScreen(this.points.x[at], this.points.y[at]);
    };
    const way = this.way.map((hit) => place(hit.number)).filter(Boolean);
    paint.strokeStyle = themed("--ink");
    paint.lineWidth = 2;
    paint.beginPath();
    way.forEach(([x, y], at) => (at ? paint.lineTo(x, y) : paint.moveTo(x, y)));
    paint.stroke();
    const disc = ([x, y], r, fill, edge, wide) => {
      paint.beginPath();
      paint.arc(x, y, r, 0, 2 * Math.PI);
      paint.fillStyle = fill;
      paint.strokeStyle = edge;
      paint.lineWidth = wide;
      if (fill) paint.fill();
      paint.stroke();
    };
    for (const hit of this.hits) {
      const at = place(hit.number);
      if (at) disc(at, Math.max(radius + 2.5, 5), themed("--mark"), themed("--map"), 1.5);
    }
    const { track } = this.app.player;
    const here = track?.hit && track.model === this.model ? place(track.hit.number) : null;
    if (here) disc(here, radius + 8, null, themed("--ink"), 2.5);
    if (this.chosen >= 0) disc(this.toScreen(this.points.x[this.chosen], this.points.y[this.chosen]), radius + 5, null, themed("--ink"), 1.5);
    if (this.gestures.keyboard && document.activeElement === this.canvas) {
      const [x, y] = [this.canvas.clientWidth / 2, this.canvas.clientHeight / 2];
      paint.strokeStyle = themed("--ink");
      paint.lineWidth = 1.5;
      paint.beginPath();
      for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
        paint.moveTo(x + 5 * dx, y + 5 * dy);
        paint.lineTo(x + 13 * dx, y + 13 * dy);
      }
      paint.stroke();
    }
  }

  /** Words on the map, the first ones first; one that would lie on another waits until there is room. */
  words(paint, width, height) {
    const taken = [];
    paint.font = "600 14px system-ui, sans-serif";
    paint.textAlign = "center";
    paint.textBaseline = "middle";
    paint.lineJoin = "round";
    paint.lineWidth = 4;
    paint.strokeStyle = themed("--map");
    paint.fillStyle = themed("--ink");
    for (const label of this.labels) {
      const [x, y] = this.toScreen(label.x, label.y);
      label.text = short(label.text, 32);
      label.wide ??= paint.measureText(label.text).width / 2 + 6;
      if (x < -label.wide || y < -20 || x > width + label.wide || y > height + 20) continue;
      if (taken.some(([a, b, wide]) => Math.abs(a - x) < wide + label.wide && Math.abs(b - y) < 22)) continue;
      taken.push([x, y, label.wide]);
      paint.strokeText(label.text, x, y);
      paint.fillText(label.text, x, y);
    }
    paint.textAlign = "start";
  }
}
