// The page: which model, which view, and what its parts share.

import { $, count, icon, say, short } from "./dom.js";
import { models } from "./api.js";
import { address, go, parameters, read } from "./state.js";
import { Player } from "./player.js";
import { Playlist } from "./playlist.js";
import { Search } from "./search.js";
import { File } from "./file.js";
import { SongMap } from "./map.js";

const TITLES = { search: "Search", map: "Map", file: "Your file", playlist: "Playlist" };

class App {
  constructor() {
    this.models = [];
    this.model = null;
    this.shown = null;
    this.player = new Player();
    this.playlist = new Playlist();
    this.playlist.attach(this);
    this.file = new File(this);
    this.map = new SongMap(this);
    this.search = new Search(this);
    this.theme();
    $("player-like").addEventListener("click", () => this.like(this.player.track.hit, this.player.track.model));
    $("model").addEventListener("change", (event) => this.use(event.target.value));
    $("skip").addEventListener("click", (event) => {
      event.preventDefault();
      $("main").focus();
    });
    addEventListener("hashchange", () => this.show());
  }

  async start() {
    try {
      this.models = await models();
    } catch (error) {
      return say($("problem"), error.message);
    } finally {
      $("loading").hidden = true;
    }
    if (!this.models.some((model) => model.searches || model.hears)) {
      return say($("problem"), "Nothing that is served here can be searched or hear a file.");
    }
    $("model").replaceChildren(...this.models.map((model) => {
      const about = model.songs ? count(model.songs, "song") : model.kind;
      return new Option(`${short(model.name, 40)} · ${about}`, model.name);
    }));
    $("model-field").hidden = this.models.length < 2;
    $("views").hidden = false;
    this.show();
  }

  /** Another model, asked for the same words. */
  use(name) {
    const { q, tag, without, artists_once, diversity } = read();
    go({ view: this.shown, model: name, q, tag, without, artists_once, diversity });
  }

  /** The views that a model has something for. */
  views(model) {
    return [model.searches && "search", model.searches && model.can.has("map") && "map", model.hears && "file", model.can.has("playlist") && "playlist"].filter(Boolean);
  }

  /** The name of the model for an address; none where there is one only. */
  modelName() {
    return this.models.length > 1 ? this.model.name : "";
  }

  /** Show what the address says. */
  show() {
    if (!this.models.length) return;
    const state = read();
    const named = this.models.find((model) => model.name === state.model);
    const model = named ?? this.model ?? this.models.find((one) => one.searches) ?? this.models.find((one) => one.hears);
    const changed = model !== this.model;
    this.model = model;
    $("model").value = model.name;
    say($("problem"), state.model && !named ? `Nothing called ${short(state.model, 60)} is served here; this is ${short(model.name, 60)}.` : "");
    const views = this.views(model);
    const view = views.includes(state.view) ? state.view : views[0];
    if (model.can.has("playlist")) this.playlist.use(model);
    if (model.searches) this.search.show({ ...state, view });
    this.links({ ...state, view, model: this.modelName() }, views);
    const before = this.shown;
    this.shown = view;
    for (const name of Object.keys(TITLES)) $(`view-${name}`).hidden = name !== view;
    if (view !== "search" || !parameters({ ...state, model: "" }).size) document.title = `${TITLES[view] ?? ""} · orpheus`;
    if (view === "map") this.map.load(model);
    if (changed && before) this.file.listen();
    if (before && before !== view) {
      scrollTo(0, 0);
      if (!this.holding()) $(`${view}-title`).focus({ preventScroll: true });
    }
  }

  /** Whether the focus is where it should stay when the view changes. */
  holding() {
    const { activeElement } = document;
    return activeElement !== document.body && $("player").contains(activeElement);
  }

  /** Links to the other views keep what is asked. */
  links(state, views) {
    for (const link of document.querySelectorAll("#views a")) {
      const { view } = link.dataset;
      link.hidden = !views.includes(view);
      link.href = address({ ...state, view });
      if (view === state.view) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
    $("views").hidden = views.length < 2;
    $("brand").href = address({ view: views[0], model: state.model });
    for (const view of ["file", "map"]) {
      $(`way-${view}`).href = address({ ...state, view });
      $(`way-${view}`).hidden = !views.includes(view);
    }
  }

  view(name) {
    go({ ...read(), view: name });
  }

  /** New results: on the map, too. */
  found(hits, way) {
    this.map.highlight(hits, way, this.model);
  }

  searchTag(tag) {
    const q = /["\s-]/.test(tag) ? `"${tag.replaceAll('"', "")}"` : tag;
    this.to({ q });
  }

  like(hit, model = this.model) {
    this.search.names.set(String(hit.number), hit.title || hit.id);
    this.to({ like: [String(hit.number)] }, model);
  }

  way(hit) {
    const from = this.player.last.hit;
    this.search.names.set(String(from.number), from.title || from.id);
    this.search.names.set(String(hit.number), hit.title || hit.id);
    this.to({ start: String(from.number), end: String(hit.number) });
  }

  /** Ask something else, under the same filters. */
  to(question, model = this.model) {
    const { tag, without, artists_once, diversity, view } = read();
    const kept = model === this.model ? { tag, without, artists_once, diversity } : {};
    const name = this.models.length > 1 ? model.name : "";
    go({ ...kept, ...question, view: view === "map" ? "map" : "search", model: name });
    if (view !== "map") $("found-title").focus({ preventScroll: true });
    scrollTo(0, 0);
  }

  /** Say something to who does not see the page. */
  say(text) {
    $("said").textContent = text;
  }

  theme() {
    const button = $("theme");
    const shown = () => {
      const { name } = window.orpheusTheme;
      button.replaceChildren(icon(name));
      button.setAttribute("aria-label", `Theme: ${name === "system" ? "as the system" : name}; change it`);
      button.title = button.getAttribute("aria-label");
    };
    button.addEventListener("click", () => {
      window.orpheusTheme.next();
      shown();
    });
    shown();
  }
}

new App().start();
