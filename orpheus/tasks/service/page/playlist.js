// The playlist of a model: kept for this tab, downloaded as M3U8.

import { $, count, el, say } from "./dom.js";
import { Rows } from "./rows.js";

const MOST = 1000;

export class Playlist extends EventTarget {
  constructor() {
    super();
    this.model = null;
    this.hits = [];
  }

  /** Show the view; called once, when the rest of the page is there. */
  attach(app) {
    this.app = app;
    this.rows = new Rows($("playlist-rows"), app, ["up", "like", "remove"]);
    $("download").addEventListener("click", () => this.download());
    $("mine").addEventListener("click", () => this.app.to({ mine: true }));
    $("empty").addEventListener("click", () => this.set([]));
  }

  get key() {
    return `orpheus-playlist-${this.model.name}`;
  }

  use(model) {
    if (this.model?.name === model.name) return;
    this.model = model;
    this.hits = [];
    try {
      const kept = JSON.parse(sessionStorage.getItem(this.key) ?? "[]");
      if (Array.isArray(kept)) this.hits = kept;
    } catch {
      // nothing kept, or not readable: an empty one
    }
    this.shown();
  }

  has(hit, model) {
    return this.model?.name === model.name && this.hits.some((one) => one.number === hit.number);
  }

  toggle(hit) {
    const without = this.hits.filter((one) => one.number !== hit.number);
    if (without.length === this.hits.length && without.length >= MOST) return this.app.say(`A playlist has at most ${MOST} songs.`);
    this.set(without.length < this.hits.length ? without : [...this.hits, hit]);
    this.app.say(`${count(this.hits.length, "song")} in the playlist`);
  }

  up(place) {
    const hits = [...this.hits];
    [hits[place - 1], hits[place]] = [hits[place], hits[place - 1]];
    this.set(hits);
  }

  remove(place) {
    this.set(this.hits.filter((_, at) => at !== place));
  }

  set(hits) {
    this.hits = hits;
    try {
      sessionStorage.setItem(this.key, JSON.stringify(hits));
    } catch {
      // storage is full or switched off: the playlist lasts as long as the page
    }
    this.shown();
  }

  shown() {
    const n = this.hits.length;
    this.rows.show(this.hits, this.model);
    $("playlist-status").textContent = n ? count(n, "song") : "";
    $("playlist-none").hidden = n > 0;
    $("mine").hidden = !n || !this.model.can.has("recommend");
    $("download").hidden = $("empty").hidden = !n;
    say($("playlist-count"), n ? String(n) : "");
    say($("playlist-problem"), "");
    this.dispatchEvent(new Event("change"));
  }

  async download() {
    say($("playlist-problem"), "");
    try {
      const body = JSON.stringify({ numbers: this.hits.map((hit) => hit.number) });
      const blob = await this.model.ask("playlist", {}, { method: "POST", body, as: "blob" });
      const url = URL.createObjectURL(blob);
      el("a", { href: url, download: "playlist.m3u8" }).click();
      setTimeout(() => URL.revokeObjectURL(url), 60_000);
      this.app.say("The playlist is downloaded");
    } catch (error) {
      say($("playlist-problem"), error.message);
    }
  }
}
