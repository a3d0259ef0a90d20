// The one player, at the bottom: songs of the library and the file that was dropped.

import { $, clock, el, icon, say, short, spoken } from "./dom.js";
import { request } from "./api.js";

/**
 * A track is {key, url, title, artist, hit?, model?}; one without `hit` is a local file. Dispatches "change" when another
 * track is loaded or it starts or stops.
 */
export class Player extends EventTarget {
  constructor() {
    super();
    this.audio = $("audio");
    this.track = null;
    this.last = null; // the last song of a library that was played
    this.list = [];
    this.retried = false;
    this.seeking = false;
    for (const [id, name] of [["player-back", "back"], ["player-next", "next"], ["player-like", "like"]]) $(id).append(icon(name));
    $("player-play").addEventListener("click", () => this.toggle());
    $("player-back").addEventListener("click", () => this.step(-1));
    $("player-next").addEventListener("click", () => this.step(1));
    $("player-seek").addEventListener("input", (event) => this.seek(Number(event.target.value)));
    const { audio } = this;
    for (const name of ["play", "pause", "ended"]) audio.addEventListener(name, () => this.changed());
    for (const name of ["timeupdate", "seeked", "durationchange", "loadedmetadata"]) audio.addEventListener(name, () => this.moved());
    audio.addEventListener("ended", () => this.step(1));
    audio.addEventListener("error", () => this.failed());
    audio.addEventListener("playing", () => {
      this.retried = false;
      say($("player-problem"), "");
    });
    const media = navigator.mediaSession;
    if (media) {
      media.setActionHandler("nexttrack", () => this.step(1));
      media.setActionHandler("previoustrack", () => this.step(-1));
    }
  }

  get playing() {
    return this.track !== null && !this.audio.paused && !this.audio.ended;
  }

  isAt(key) {
    return this.track?.key === key;
  }

  /** Load a track, and play it unless told otherwise; `list` is what comes before and after it. */
  load(track, { list = [], play = true, at = 0 } = {}) {
    this.list = list;
    if (!this.isAt(track.key) || this.audio.error) {
      this.track = track;
      this.retried = false;
      say($("player-problem"), "");
      this.audio.src = track.url;
    }
    if (track.hit) this.last = { model: track.model, hit: track.hit };
    if (at) this.audio.currentTime = at;
    this.shown();
    if (play) this.start();
  }

  /** Take the present track away. */
  unload() {
    this.audio.pause();
    this.audio.removeAttribute("src");
    this.audio.load();
    this.track = null;
    $("player").hidden = true;
    document.body.classList.remove("with-player");
    this.changed();
  }

  /** Play a track, or pause it where it plays already. */
  press(track, list = []) {
    if (this.isAt(track.key) && !this.audio.error) this.toggle();
    else this.load(track, { list });
  }

  toggle() {
    if (this.playing) this.audio.pause();
    else this.start();
  }

  start() {
    // Refused, or replaced by the next track: the events of the element say so.
    this.audio.play().catch(() => this.changed());
  }

  seek(seconds) {
    if (Number.isFinite(seconds)) this.audio.currentTime = seconds;
    this.moved();
  }

  /** The track before or after the present one. */
  step(by) {
    const at = this.list.findIndex((track) => this.isAt(track.key));
    const next = at < 0 ? undefined : this.list[at + by];
    if (next) this.load(next, { list: this.list });
    else if (by < 0) this.seek(0);
  }

  shown() {
    const { title, artist, hit, model } = this.track;
    $("player").hidden = false;
    document.body.classList.add("with-player");
    $("player-title").replaceChildren(el("bdi", {}, title));
    $("player-artist").replaceChildren(el("bdi", {}, artist || ""));
    $("player-like").hidden = !hit || !model.can.has("similar");
    if (navigator.mediaSession) navigator.mediaSession.metadata = new MediaMetadata({ title: short(title), artist: short(artist || "") });
    this.changed();
    this.moved();
  }

  changed() {
    const at = this.list.findIndex((track) => this.isAt(track.key));
    $("player-play").replaceChildren(icon(this.playing ? "pause" : "play"));
    $("player-play").setAttribute("aria-label", this.playing ? "Pause" : "Play");
    $("player-next").disabled = at < 0 || at + 1 >= this.list.length;
    this.dispatchEvent(new Event("change"));
  }

  moved() {
    const { currentTime, duration } = this.audio;
    const length = Number.isFinite(duration) ? duration : 0;
    const slider = $("player-seek");
    slider.max = length;
    slider.value = currentTime;
    slider.setAttribute("aria-valuetext", `${spoken(currentTime)} of ${spoken(length)}`);
    slider.style.setProperty("--done", `${length ? (100 * currentTime) / length : 0}%`);
    $("player-time").textContent = clock(currentTime);
    $("player-length").textContent = clock(length);
  }

  /** The cookie that lets the element ask may have run out: any request renews it. */
  async failed() {
    const { track } = this;
    if (!track || !this.audio.error) return;
    if (track.hit && !this.retried) {
      this.retried = true;
      const at = this.audio.currentTime;
      try {
        await request("/api/models");
        if (this.track !== track) return;
        this.audio.src = track.url;
        this.audio.currentTime = at;
        this.start();
        return;
      } catch (error) {
        say($("player-problem"), error.message);
      }
    } else {
      say($("player-problem"), `${short(track.title, 60)} cannot be played: the file is gone, or this browser does not know its format.`);
    }
    this.changed();
  }
}
