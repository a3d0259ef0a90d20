// Tags over time on a canvas: a row for each of the strongest, the outline of the recording above, and a playhead.

import { fit, short, spoken, themed } from "./dom.js";

const ROWS = 8;
const WAVE = 44; // CSS pixels, of the outline
const ROW = 30;
const GAP = 6;
const KEYS = { ArrowRight: 5, ArrowUp: 5, ArrowLeft: -5, ArrowDown: -5, PageUp: 30, PageDown: -30 };

export class Timeline {
  /** `seek` is called with seconds. */
  constructor(canvas, seek) {
    Object.assign(this, { canvas, seek, heard: null, peaks: null, length: 0, position: 0, order: [] });
    this.still = document.createElement("canvas"); // all but the playhead
    const there = (event) => this.length && seek(Math.min(Math.max((event.offsetX - this.left) / this.width, 0), 1) * this.length);
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      there(event);
    });
    canvas.addEventListener("pointermove", (event) => event.buttons && there(event));
    canvas.addEventListener("keydown", (event) => {
      const to = event.key in KEYS ? this.position + KEYS[event.key] : { Home: 0, End: this.length }[event.key];
      if (to === undefined) return;
      event.preventDefault();
      seek(Math.min(Math.max(to, 0), this.length));
    });
    new ResizeObserver(() => this.drawn()).observe(canvas);
    document.addEventListener("themechange", () => this.drawn());
  }

  /** Show what was heard: {seconds, timeline}. */
  show(heard) {
    Object.assign(this, { heard, peaks: null, position: 0 });
    const { timeline } = heard;
    const last = timeline ? timeline.times.at(-1) + timeline.window_seconds : 0;
    this.length = heard.seconds ?? last;
    this.count = Math.min(timeline?.tags.length ?? 0, ROWS);
    this.order = this.strongest();
    this.canvas.style.blockSize = `${WAVE + this.count * (ROW + GAP) + 4}px`;
    this.canvas.setAttribute("aria-valuemax", Math.round(this.length));
    this.drawn();
    this.move(0);
  }

  wave(peaks) {
    this.peaks = peaks;
    this.drawn();
  }

  /** Rows in the order in which tags are strongest anywhere. */
  strongest() {
    const { timeline } = this.heard;
    if (!timeline) return [];
    const most = timeline.tags.map((_, tag) => Math.max(...timeline.scores.map((row) => row[tag])));
    return [...most.keys()].sort((a, b) => most[b] - most[a]).slice(0, this.count);
  }

  /** Scores at a time: of the windows around it, weighted by how near their middles are. */
  scoresAt(seconds) {
    const { times, window_seconds: window, scores } = this.heard.timeline;
    const middle = (place) => times[place] + window / 2;
    let next = times.findIndex((_, place) => middle(place) > seconds);
    if (next === 0) return scores[0];
    if (next < 0) return scores.at(-1);
    const share = (seconds - middle(next - 1)) / (middle(next) - middle(next - 1));
    return scores[next].map((score, tag) => share * score + (1 - share) * scores[next - 1][tag]);
  }

  get left() {
    return this.order.length ? Math.min(150, 0.32 * this.canvas.clientWidth) : 0;
  }

  get width() {
    return Math.max(this.canvas.clientWidth - this.left, 1);
  }

  /** Draw the still part, then the playhead. */
  drawn() {
    if (!this.heard) return;
    const { width, height, ratio } = fit(this.canvas);
    Object.assign(this.still, { width: this.canvas.width, height: this.canvas.height });
    const paint = this.still.getContext("2d");
    paint.scale(ratio, ratio);
    if (!width || !height) return;
    this.outline(paint, this.left, this.width, themed("--wave"));
    this.order.forEach((tag, row) => this.row(paint, tag, WAVE + row * (ROW + GAP) + GAP));
    this.move(this.position);
  }

  outline(paint, from, width, colour) {
    const middle = WAVE / 2;
    paint.fillStyle = colour;
    if (!this.peaks) return paint.fillRect(from, middle - 1, width, 2);
    const bars = Math.min(this.peaks.length, Math.floor(this.width / 3));
    for (let bar = 0; bar < bars; bar++) {
      const x = (bar * this.width) / bars;
      if (x > width) break;
      const peaks = this.peaks.subarray((bar * this.peaks.length) / bars, ((bar + 1) * this.peaks.length) / bars);
      const high = Math.max(1, Math.max(...peaks) * (WAVE / 2 - 3));
      paint.fillRect(from + x, middle - high, 2, 2 * high);
    }
  }

  row(paint, tag, top) {
    const { timeline } = this.heard;
    const { left, width } = this;
    const most = Math.max(...this.order.map((one) => Math.max(...timeline.scores.map((row) => row[one]))), 1e-9);
    paint.fillStyle = themed("--band");
    paint.fillRect(left, top, width, ROW);
    const points = timeline.times.map((time, at) => [
      left + (Math.min(time + timeline.window_seconds / 2, this.length) / this.length) * width,
      top + ROW - Math.sqrt(Math.max(timeline.scores[at][tag], 0) / most) * (ROW - 3), // small scores are seen, too
    ]);
    const [first, last] = [points[0], points.at(-1)];
    const line = [[left, first[1]], ...points, [left + width, last[1]]];
    paint.beginPath();
    paint.moveTo(left, top + ROW);
    line.forEach(([x, y]) => paint.lineTo(x, y));
    paint.lineTo(left + width, top + ROW);
    paint.closePath();
    const colour = themed(`--m${this.order.indexOf(tag) % 8}`);
    paint.globalAlpha = 0.45;
    paint.fillStyle = colour;
    paint.fill();
    paint.globalAlpha = 1;
    paint.beginPath();
    line.forEach(([x, y], at) => (at ? paint.lineTo(x, y) : paint.moveTo(x, y)));
    paint.strokeStyle = colour;
    paint.lineWidth = 1.75;
    paint.lineJoin = "round";
    paint.stroke();
    paint.fillStyle = themed("--ink");
    paint.font = "14px system-ui, sans-serif";
    paint.textBaseline = "middle";
    paint.fillText(fitted(paint, timeline.tags[tag], left - 12), 0, top + ROW / 2 + 1);
  }

  /** Put the playhead somewhere; `text` is what is read aloud of it. */
  move(seconds, text = null) {
    this.position = seconds;
    if (!this.heard || !this.length) return;
    const { canvas, left, width } = this;
    const paint = canvas.getContext("2d");
    const ratio = canvas.width / Math.max(canvas.clientWidth, 1);
    paint.setTransform(1, 0, 0, 1, 0, 0);
    paint.clearRect(0, 0, canvas.width, canvas.height);
    if (!this.still.width || !this.still.height) return;
    paint.drawImage(this.still, 0, 0);
    paint.scale(ratio, ratio);
    const x = (Math.min(seconds, this.length) / this.length) * width;
    this.outline(paint, left, x, themed("--accent"));
    paint.fillStyle = themed("--ink");
    paint.fillRect(Math.min(left + x, left + width - 2), 0, 2, canvas.clientHeight);
    paint.beginPath();
    paint.arc(Math.min(left + x + 1, left + width - 4), 4, 4, 0, 2 * Math.PI);
    paint.fill();
    canvas.setAttribute("aria-valuenow", Math.round(seconds));
    canvas.setAttribute("aria-valuetext", text ?? spoken(seconds));
  }
}

/** As much of a text as there is room for; its own direction marks are left out. */
function fitted(paint, text, room) {
  const letters = Array.from(short(text, 100));
  if (paint.measureText(letters.join("")).width <= room) return letters.join("");
  while (letters.length && paint.measureText(`${letters.join("")}…`).width > room) letters.pop();
  return `${letters.join("")}…`;
}
