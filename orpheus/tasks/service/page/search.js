// Songs for words, listeners, a song, or the way between two: the form, the question, and the list of results.

import { $, count, el, icon, say, short, theirs } from "./dom.js";
import { combobox, lastTerm, putTerm, whole } from "./combobox.js";
import { address, go, read } from "./state.js";
import { Rows } from "./rows.js";

const STEP = 20; // songs of a list, and how many more are asked for
const MOST = 200;
const SUGGESTED = 8;
const HISTORY = 30; // songs of the playlist that are asked with

export class Search {
  constructor(app) {
    this.app = app;
    this.asked = "";
    this.asking = null;
    this.names = new Map(); // number → title, for headings; of one model, for each counts its own songs
    this.namesOf = null;
    this.rows = new Rows($("found-rows"), app);
    this.form();
  }

  form() {
    const words = (text, signal) => this.app.model.ask("words", { prefix: text, k: SUGGESTED }, { signal }).then((found) => found.words);
    const listeners = (text, signal) => this.app.model.ask("listeners", { prefix: text, k: SUGGESTED }, { signal }).then((found) => found.listeners);
    combobox($("q"), { label: "Tags", part: lastTerm, suggest: words, accept: putTerm });
    const put = (input, chosen) => {
      input.value = chosen;
    };
    combobox($("listener"), { label: "Listeners", part: whole, suggest: listeners, accept: put });
    for (const name of ["with", "without"]) {
      const input = $(`${name}-tag`);
      const add = (tag) => {
        input.value = "";
        if (tag) this.filter(name === "with" ? "tag" : "without", (tags) => [...new Set([...tags, tag])]);
      };
      combobox(input, { label: "Tags", part: whole, suggest: words, accept: (_, tag) => add(tag) });
      input.addEventListener("keydown", (event) => {
        if (event.key !== "Enter") return;
        event.preventDefault();
        add(input.value.trim());
      });
    }
    for (const id of ["weight-words", "weight-listener", "diversity"]) {
      $(id).addEventListener("input", () => ($(`${id}-shown`).textContent = $(id).value));
      $(id).addEventListener("change", () => this.submit({ replace: true }));
    }
    for (const id of ["artists-once", "include-heard"]) $(id).addEventListener("change", () => this.submit({ replace: true }));
    $("search-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.submit();
    });
    $("more").addEventListener("click", () => {
      const state = read();
      go({ ...state, k: String(Math.min(this.length(state) + STEP, MOST)) }, { replace: true });
    });
  }

  length = (state) => Math.min(Math.max(Number(state.k) || STEP, 1), MOST);

  /** Ask what the form says, and what else is given. */
  submit({ replace = false, ...given } = {}) {
    const text = $("q").value.trim();
    const [start, end] = text ? ["", ""] : [read().start, read().end];
    const number = (id, usual) => ($(id).value === usual ? "" : $(id).value);
    go({
      ...read(),
      view: this.app.shown === "map" ? "map" : "search",
      model: this.app.modelName(),
      q: text,
      start,
      end,
      k: "",
      listener: this.app.model.forListeners ? $("listener").value.trim() : "",
      weight_words: number("weight-words", "1"),
      weight_listener: number("weight-listener", "1"),
      diversity: number("diversity", "0"),
      artists_once: $("artists-once").checked,
      include_heard: $("include-heard").checked,
      ...given,
    }, { replace });
  }

  filter(name, change) {
    this.submit({ replace: true, [name]: change(read()[name]) });
  }

  /** Show a state: fill the form, and ask where what is asked has changed. */
  show(state) {
    const { model } = this.app;
    if (this.namesOf !== model) [this.namesOf, this.names] = [model, new Map()];
    $("listener-field").hidden = !model.forListeners;
    if (document.activeElement !== $("q") || state.q !== $("q").value.trim()) $("q").value = state.q;
    $("listener").value = state.listener;
    for (const [id, value] of [["weight-words", state.weight_words || "1"], ["weight-listener", state.weight_listener || "1"], ["diversity", state.diversity || "0"]]) {
      $(id).value = value;
      $(`${id}-shown`).textContent = $(id).value;
    }
    $("artists-once").checked = state.artists_once;
    $("include-heard").checked = state.include_heard;
    $("weights").hidden = !(state.listener && state.q);
    $("include-heard-field").hidden = !state.listener;
    this.chips($("with-tags"), "tag", state.tag);
    this.chips($("without-tags"), "without", state.without);
    const set = [state.diversity, state.artists_once, state.include_heard, ...state.tag, ...state.without].filter(Boolean).length;
    say($("options-count"), set ? String(set) : "");
    this.cloud();
    const any = state.q || state.listener || state.like.length || this.history(state).length || (state.start && state.end);
    $("start").hidden = Boolean(any);
    $("found").hidden = !any;
    if (state.view === "map") $("map-ask").append($("ask"));
    else if ($("ask").parentElement.id === "map-ask") $("search-title").after($("ask"));
    if (any) this.ask(state);
    else this.clear();
  }

  clear() {
    this.asking?.abort();
    this.asked = "";
    say($("found-problem"), "");
    this.rows.show([], this.app.model);
    this.app.found([], []);
    $("map-rows-title").textContent = "Highlighted songs";
  }

  chips(list, name, tags) {
    list.replaceChildren(...tags.map((tag) =>
      el("li", {}, el("button", {
        type: "button",
        class: "chip",
        "aria-label": `Remove the filter ${short(tag, 60)}`,
        on: { click: () => this.filter(name, (all) => all.filter((one) => one !== tag)) },
      }, theirs(short(tag, 60)), icon("remove"))),
    ));
  }

  /** Tags to begin with. */
  cloud() {
    const { model } = this.app;
    if ($("cloud").model === model) return;
    $("cloud").model = model;
    const tags = model.tags.slice(0, 40);
    $("cloud").replaceChildren(...tags.map((tag) =>
      el("li", {}, el("button", { type: "button", class: "chip", on: { click: () => this.app.searchTag(tag) } }, theirs(short(tag, 40)))),
    ));
    $("start").querySelector("h2").hidden = !tags.length;
  }

  /** Ids of the playlist, where songs that go with it are asked for. */
  history(state) {
    return state.mine && this.app.model.can.has("recommend") ? this.app.playlist.hits.slice(-HISTORY).map((hit) => hit.id) : [];
  }

  /** Which question of the service a state is. */
  question(state) {
    const query = new URLSearchParams({ k: this.length(state) });
    const put = (name, value) => value && query.append(name, value);
    if (state.start && state.end && !state.q) {
      const steps = String(Math.min(this.length(state), 8));
      return ["path", new URLSearchParams({ start: state.start, end: state.end, steps })];
    }
    for (const tag of state.tag) put("tag", tag);
    for (const tag of state.without) put("without", tag);
    put("artists_once", state.artists_once && "true");
    put("diversity", state.diversity);
    if (state.listener) put("include_heard", state.include_heard && "true");
    const { like } = state;
    const history = this.history(state);
    if (like.length === 1 && !state.q && !state.listener && !history.length) {
      put("song", like[0]);
      return ["similar", query];
    }
    put("listener", state.listener);
    for (const id of history) put("history", id);
    if ((state.listener || history.length) && !state.q && !like.length) return ["recommend", query];
    put("q", state.q);
    for (const number of like) put("like", number);
    if (state.listener && state.q) {
      put("weight_words", state.weight_words);
      put("weight_listener", state.weight_listener);
    }
    return ["search", query];
  }

  async ask(state) {
    const { app } = this;
    const { model } = app;
    const [path, query] = this.question(state);
    const asked = `${model.name} ${path}?${query}`;
    this.heading(state, path);
    if (asked === this.asked) return;
    this.asked = asked;
    this.asking?.abort();
    this.asking = new AbortController();
    const { signal } = this.asking;
    const list = $("found-rows");
    list.setAttribute("aria-busy", "true");
    $("found-status").textContent = "Searching …";
    say($("found-problem"), "");
    $("more").hidden = true;
    try {
      const { hits } = await model.ask(path, query, { signal });
      if (signal.aborted) return;
      for (const hit of hits) this.names.set(String(hit.number), hit.title || hit.id);
      this.rows.show(hits, model);
      app.found(hits, path === "path" ? hits : []);
      const n = this.length(state);
      $("found-status").textContent = hits.length ? count(hits.length, "song") : "Nothing is left of it: fewer filters or other words may help.";
      $("more").hidden = path === "path" || hits.length < n || n >= MOST;
      this.heading(state, path);
    } catch (error) {
      if (error.name === "AbortError") return;
      this.asked = "";
      this.rows.show([], model);
      app.found([], []);
      $("found").hidden = true;
      $("start").hidden = false;
      $("found-status").textContent = "";
      say($("found-problem"), error.message);
    } finally {
      if (!signal.aborted) list.removeAttribute("aria-busy");
    }
  }

  /** What the list is of, and how to take parts of the question away. */
  async heading(state, path) {
    const title = $("found-title");
    const { names } = this;
    const song = (number) => theirs(short(names.get(number) ?? `song ${number}`, 80));
    const parts = [];
    if (path === "path") parts.push("On the way from ", song(state.start), " to ", song(state.end));
    else {
      parts.push("Songs");
      if (state.q) parts.push(" for “", theirs(short(state.q, 100)), "”");
      if (state.like.length) parts.push(" like ", ...state.like.flatMap((number, at) => [at ? " and " : "", song(number)]));
      if (state.listener) parts.push(" for ", theirs(short(state.listener, 60)));
      if (this.history(state).length) parts.push(" that go with your playlist");
    }
    const also = state.like.length || this.history(state).length;
    if (path === "path" || (also && (state.q || state.listener))) {
      const without = { ...state, start: "", end: "", like: [], mine: false, k: "" };
      parts.push(" ", el("a", { class: "plain", href: address(without), "aria-label": "Without that" }, icon("remove")));
    }
    title.replaceChildren(...parts);
    $("map-rows-title").replaceChildren(...[...title.childNodes].map((part) => part.cloneNode(true)));
    document.title = `${short(title.textContent.trim(), 80)} · orpheus`;
    const wanted = path === "path" ? [state.start, state.end] : state.like;
    const unnamed = wanted.filter((number) => !names.has(number));
    if (!unnamed.length) return;
    for (const number of unnamed) names.set(number, `song ${number}`);
    const { model } = this.app;
    const found = await Promise.allSettled(unnamed.map((number) => model.ask(`songs/${encodeURIComponent(number)}`)));
    found.forEach(({ value }, at) => value && names.set(unnamed[at], value.title || value.id)); // the list itself says what is wrong
    if (found.some(({ value }) => value) && this.asked.startsWith(`${model.name} ${path}?`)) this.heading(read(), path);
  }
}
