// A recording of the reader's own: its tags along the player, and songs of the library like it.

import { $, clock, el, icon, say, short, spoken, theirs } from "./dom.js";
import { Rows } from "./rows.js";
import { Timeline } from "./timeline.js";
import { waveform } from "./waveform.js";

const SHOWN = 15; // tags of the whole file
const SPOKEN_MS = 5000; // from one spoken text to the next
const KEY = "file"; // of the player's track

export class File {
  constructor(app) {
    this.app = app;
    this.file = null;
    this.url = null;
    this.heard = null;
    this.asking = null;
    this.spokenAt = -Infinity;
    this.alike = new Rows($("alike-rows"), app);
    this.timeline = new Timeline($("timeline"), (seconds) => this.seek(seconds));
    $("file").addEventListener("change", (event) => this.take(event.target.files[0]));
    $("heard-play").addEventListener("click", () => app.player.press(this.track()));
    app.player.addEventListener("change", () => this.marked());
    for (const name of ["timeupdate", "seeked"]) app.player.audio.addEventListener(name, () => this.moved());
    this.drops();
  }

  /** Files may be dropped anywhere on the page. */
  drops() {
    const veil = $("veil");
    const holdsFile = (event) => this.app.model?.hears && [...(event.dataTransfer?.types ?? [])].includes("Files");
    addEventListener("dragover", (event) => {
      if (!holdsFile(event)) return;
      event.preventDefault();
      veil.hidden = false;
    });
    addEventListener("dragleave", (event) => {
      if (!event.relatedTarget) veil.hidden = true;
    });
    addEventListener("drop", (event) => {
      veil.hidden = true;
      if (!holdsFile(event)) return;
      event.preventDefault();
      this.take(event.dataTransfer.files[0]);
    });
  }

  /** Begin with a file; a second one replaces the first. */
  take(file) {
    if (!file) return;
    const { player } = this.app;
    if (this.url) {
      if (player.isAt(KEY)) player.unload();
      URL.revokeObjectURL(this.url);
    }
    this.file = file;
    this.url = URL.createObjectURL(file);
    $("file").value = "";
    this.app.view("file");
    this.listen();
  }

  /** Ask for the tags of the file, of the present model. */
  async listen() {
    const { file } = this;
    const { model } = this.app;
    if (!file || !model.hears) return;
    this.asking?.abort();
    this.asking = new AbortController();
    const { signal } = this.asking;
    Object.assign(this, { model, heard: null, spokenAt: -Infinity });
    $("heard").hidden = true;
    say($("file-problem"), "");
    say($("file-status"), `Listening to ${short(file.name, 80)} …`);
    try {
      const heard = await model.send("tags", file, { timeline: "true" }, { signal });
      if (signal.aborted) return;
      if (!heard.timeline?.times.length) heard.timeline = null;
      this.heard = heard;
      this.shown();
      const peaks = await waveform(file);
      if (!signal.aborted && peaks) this.timeline.wave(peaks);
    } catch (error) {
      if (error.name !== "AbortError") say($("file-problem"), error.message);
    } finally {
      if (!signal.aborted) say($("file-status"), "");
    }
  }

  shown() {
    const { heard, file, model } = this;
    const best = Math.max(...heard.tags.map(({ score }) => score), 1e-9);
    $("heard").hidden = false;
    $("heard-title").replaceChildren(theirs(short(file.name, 300)));
    $("heard-seconds").textContent = heard.seconds === null ? "" : clock(heard.seconds);
    $("heard-tags").replaceChildren(...heard.tags.slice(0, SHOWN).map(({ tag, score }) => {
      const meter = el("span", { class: "meter", "aria-hidden": "true" }, el("span", {}));
      meter.firstChild.style.inlineSize = `${Math.max(0, (100 * score) / best)}%`;
      const name = model.searches
        ? el("button", { type: "button", class: "tag-name", title: "Search this tag", on: { click: () => this.app.searchTag(tag) } }, theirs(short(tag, 60)))
        : theirs(short(tag, 60), { class: "tag-name" });
      return el("li", {}, name, meter, el("span", { class: "score" }, score.toFixed(2).replace("-", "−")));
    }));
    this.timeline.show(heard);
    $("now-word").textContent = heard.timeline ? "Now" : "Strongest";
    $("timeline-help").textContent = heard.timeline
      ? `A row for each of the strongest tags, the higher the surer; one window is ${Number(heard.timeline.window_seconds.toFixed(1))} s. Click, or use the arrow keys, to listen there.`
      : "This model says what the whole file is, not how it changes. Click, or use the arrow keys, to listen there.";
    this.app.player.load(this.track(), { play: false });
    this.moved();
    $("heard-play").focus({ preventScroll: true });
    this.app.say(`${short(file.name, 80)}: ${this.strongest(0).join(", ")}`);
    this.similar();
  }

  async similar() {
    const { model, file, asking } = this;
    const can = model.kind === "index" && model.can.has("similar");
    $("alike").hidden = !can;
    this.alike.show([], model);
    say($("alike-problem"), "");
    if (!can) return;
    say($("alike-status"), "Looking for songs like it …");
    try {
      const { hits } = await model.send("similar", file, { k: "10" }, { signal: asking.signal });
      if (asking.signal.aborted) return;
      this.alike.show(hits, model);
    } catch (error) {
      if (error.name !== "AbortError") say($("alike-problem"), error.message);
    } finally {
      if (!asking.signal.aborted) say($("alike-status"), "");
    }
  }

  track() {
    return { key: KEY, url: this.url, title: this.file.name, artist: "your file" };
  }

  seek(seconds) {
    const { player } = this.app;
    if (player.isAt(KEY)) player.seek(seconds);
    else player.load(this.track(), { at: seconds, play: false });
    this.moved();
  }

  /** The strongest tags at a time, or of the whole file where the model does not say. */
  strongest(seconds) {
    const { timeline, tags } = this.heard;
    if (!timeline) return tags.slice(0, 3).map(({ tag }) => short(tag, 40));
    const scores = this.timeline.scoresAt(seconds);
    return [...scores.keys()].sort((a, b) => scores[b] - scores[a]).slice(0, 3).map((at) => short(timeline.tags[at], 40));
  }

  moved() {
    const { player } = this.app;
    if (!this.heard || !player.isAt(KEY)) return;
    const at = player.audio.currentTime;
    const now = this.strongest(at);
    if ($("now").textContent !== now.join("")) $("now").replaceChildren(...now.map((tag) => theirs(tag, { class: "chip" })));
    this.timeline.move(at, `${spoken(at)}: ${now.join(", ")}`);
    // Said aloud while it plays, and not more often than can be listened to.
    const due = performance.now() - this.spokenAt > SPOKEN_MS;
    if (player.playing && due && $("now-live").textContent !== now.join(", ")) {
      this.spokenAt = performance.now();
      $("now-live").textContent = now.join(", ");
    }
  }

  marked() {
    const { player } = this.app;
    const playing = player.isAt(KEY) && player.playing;
    $("heard-play").replaceChildren(icon(playing ? "pause" : "play"), playing ? "Pause" : "Play");
    if (playing) this.follow();
  }

  /** The playhead moves with every frame while the file plays. */
  follow() {
    cancelAnimationFrame(this.frame);
    const step = () => {
      const { player } = this.app;
      if (!player.isAt(KEY) || !player.playing || document.hidden) return;
      this.timeline.move(player.audio.currentTime);
      this.frame = requestAnimationFrame(step);
    };
    this.frame = requestAnimationFrame(step);
  }
}
