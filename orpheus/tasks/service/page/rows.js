// Lists of songs whose rows play. Arrows move between rows (up, down) and within one (left, right); Tab leaves the list.

import { el, icon, short, theirs } from "./dom.js";
import { tracks } from "./tracks.js";

export class Rows {
  /**
   * `list` is an <ol>; `app` has model, player and what buttons do; `actions` names the buttons of a row: way, like, add,
   * up, remove.
   */
  constructor(list, app, actions = ["way", "like", "add"]) {
    Object.assign(this, { list, app, actions, hits: [], model: null });
    list.addEventListener("keydown", (event) => this.key(event));
    list.addEventListener("focusin", (event) => this.reachable(event.target.closest("li")));
    app.player.addEventListener("change", () => this.mark());
    app.playlist.addEventListener("change", () => this.mark());
  }

  show(hits, model) {
    const focused = this.list.contains(document.activeElement) ? [...this.list.children].indexOf(document.activeElement.closest("li")) : -1;
    Object.assign(this, { hits, model, tracks: tracks(hits, model) });
    const best = Math.max(...hits.map((hit) => Math.abs(hit.score)), 1e-9);
    this.list.replaceChildren(...hits.map((hit, place) => this.row(hit, place, best)));
    this.reachable(this.list.children[Math.max(focused, 0)]);
    this.mark();
    if (focused >= 0) (this.list.children[Math.min(focused, hits.length - 1)] ?? this.list).querySelector("button")?.focus();
  }

  row(hit, place, best) {
    const { app, model } = this;
    const name = short(hit.title || hit.id, 80);
    const press = this.tracks[place]
      ? () => app.player.press(this.tracks[place], this.tracks.filter(Boolean))
      : null;
    const button = (kind, label, picture, run) =>
      el("button", { type: "button", class: "plain", "data-kind": kind, "aria-label": `${label}: ${name}`, title: label, on: { click: run } }, icon(picture));
    const known = {
      like: () => model.can.has("similar") && button("like", "More like this", "like", () => app.like(hit)),
      way: () => model.can.has("path") && button("way", "Path to here from the last played song", "way", () => app.way(hit)),
      add: () => model.can.has("playlist") && button("add", "Add to playlist", "add", () => app.playlist.toggle(hit)),
      up: () => button("up", "Move up", "up", () => app.playlist.up(place)),
      remove: () => button("remove", "Remove", "remove", () => app.playlist.remove(place)),
    };
    const because = new Set(hit.because);
    const chips = [...because, ...hit.tags.filter((tag) => !because.has(tag))].slice(0, 6).map((tag) =>
      el("button", {
        type: "button",
        class: because.has(tag) ? "chip because" : "chip",
        "aria-label": `${because.has(tag) ? "Here because of the tag" : "Tag"} ${short(tag, 60)}: search it`,
        on: { click: () => app.searchTag(tag) },
      }, theirs(short(tag, 40))),
    );
    const playButton = el("button", {
      type: "button",
      class: "row-play",
      "data-kind": "play",
      "aria-disabled": press ? null : "true",
      on: { click: () => press?.() },
    },
      el("span", { class: "place", "aria-hidden": "true" }, String(place + 1)),
      el("span", { class: "sign" }, icon("play")),
      el("span", { class: "row-name" },
        el("span", { class: "visually-hidden verb" }, "Play "),
        theirs(short(hit.title || hit.id, 300), { class: "title" }),
        hit.artist ? el("span", { class: "visually-hidden" }, " by ") : null,
        hit.artist ? theirs(short(hit.artist, 200), { class: "artist" }) : null,
        press ? null : el("span", { class: "artist" }, "no audio"),
      ),
    );
    const score = Number(hit.score).toFixed(2).replace("-", "−");
    const meter = el("span", { class: "meter", "aria-hidden": "true" }, el("span", {}));
    meter.firstChild.style.inlineSize = `${Math.max(0, (100 * hit.score) / best)}%`;
    return el("li", { "data-key": `${model.name}/${hit.number}` },
      playButton,
      el("span", { class: "row-tags" }, ...chips),
      el("span", { class: "score" }, el("span", { class: "visually-hidden" }, "score "), score, meter),
      el("span", { class: "row-actions" }, ...this.actions.map((action) => known[action]() || null)),
    );
  }

  /** Which row plays, which are in the playlist, and from where a path can begin. */
  mark() {
    const { player, playlist } = this.app;
    [...this.list.children].forEach((row, place) => {
      const here = player.isAt(row.dataset.key);
      const playing = here && player.playing;
      if (here) row.setAttribute("aria-current", "true");
      else row.removeAttribute("aria-current");
      row.querySelector(".sign").replaceChildren(icon(playing ? "pause" : "play"));
      row.querySelector(".verb").textContent = playing ? "Pause " : "Play ";
      const add = row.querySelector("[data-kind=add]");
      if (add) {
        const inside = playlist.has(this.hits[place], this.model);
        add.replaceChildren(icon(inside ? "check" : "add"));
        add.setAttribute("aria-pressed", String(inside));
      }
      const way = row.querySelector("[data-kind=way]");
      const up = row.querySelector("[data-kind=up]");
      if (up) up.hidden = place === 0;
      if (way) way.hidden = !player.last || player.last.model.name !== this.model.name || player.last.hit.number === this.hits[place].number;
    });
  }

  /** Only one row's buttons are reached by Tab. */
  reachable(row) {
    if (!row) return;
    for (const one of this.list.querySelectorAll("button")) one.tabIndex = row.contains(one) ? 0 : -1;
  }

  key(event) {
    const row = event.target.closest("li");
    if (!row || event.ctrlKey || event.metaKey || event.altKey) return;
    const rows = [...this.list.children];
    const at = rows.indexOf(row);
    const buttons = [...row.querySelectorAll("button")].filter((one) => !one.hidden);
    const inside = buttons.indexOf(event.target);
    const turned = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: rows.length - 1 }[event.key];
    const moved = { ArrowRight: inside + 1, ArrowLeft: inside - 1 }[event.key];
    let to;
    if (turned !== undefined) {
      const kind = event.target.dataset.kind ?? "play";
      const next = rows[turned];
      to = next && ([...next.querySelectorAll(`[data-kind=${kind}]`)].find((one) => !one.hidden) ?? next.querySelector("button"));
    } else if (moved !== undefined) to = buttons[moved];
    else return;
    event.preventDefault();
    to?.focus();
  }
}
