// Elements, and text in them: what other people have named (songs, tags, files) is never read as HTML.

const SVG = "http://www.w3.org/2000/svg";
const ICONS = {
  play: "M8 5v14l11-7z",
  pause: "M7 5h4v14H7zM13 5h4v14h-4z",
  back: "M6 5h2.5v14H6zM20 5v14L9.5 12z",
  next: "M15.500 5H18v14h-2.500zM4 5v14l10.500-7z",
  like: "M12 3.500a8.500 8.500 0 1 0 0 17 8.500 8.500 0 0 0 0-17zm0 2a6.500 6.500 0 1 1 0 13 6.500 6.500 0 0 1 0-13zm0 3.300a3.200 3.200 0 1 0 0 6.400 3.200 3.200 0 0 0 0-6.400z",
  way: "M5 3a3 3 0 0 0-1 5.830V14a5 5 0 0 0 10 0v-4a3 3 0 0 1 6 0v4.170a3 3 0 1 0 2 0V10a5 5 0 0 0-10 0v4a3 3 0 0 1-6 0V8.830A3 3 0 0 0 5 3z",
  add: "M11 4h2v7h7v2h-7v7h-2v-7H4v-2h7z",
  remove: "M6.400 5 12 10.600 17.600 5 19 6.400 13.400 12 19 17.600 17.600 19 12 13.400 6.400 19 5 17.600 10.600 12 5 6.400z",
  minus: "M4 11h16v2H4z",
  all: "M4 4h6v2H6v4H4zM14 4h6v6h-2V6h-4zM4 14h2v4h4v2H4zM18 14h2v6h-6v-2h4z",
  check: "M9.500 16.200 5.300 12l-1.400 1.400 5.600 5.600L20.500 8l-1.400-1.400z",
  up: "M12 5l7 7-1.400 1.400L13 8.800V20h-2V8.800l-4.600 4.600L5 12z",
  system: "M3 4h18v12H3zm2 2v8h14V6zM8 18h8v2H8z",
  light: "M12 7a5 5 0 1 0 0 10 5 5 0 0 0 0-10zM11 1h2v4h-2zM11 19h2v4h-2zM1 11h4v2H1zM19 11h4v2h-4zM4.200 5.600l1.400-1.400 2.800 2.800L7 8.400zM15.600 17 17 15.600l2.800 2.800-1.400 1.400zM4.200 18.400 7 15.600 8.400 17l-2.800 2.800zM15.600 7l2.800-2.800 1.400 1.400L17 8.400z",
  dark: "M20 14.500A8.500 8.500 0 0 1 9.500 4 8.500 8.500 0 1 0 20 14.500z",
};

/** The element of an id. */
export const $ = (id) => document.getElementById(id);

/** An element: attributes (null and false: none), listeners under `on`, then children that are elements or text. */
export function el(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key === "on") for (const [event, handler] of Object.entries(value)) made.addEventListener(event, handler);
    else if (value !== null && value !== undefined && value !== false) made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

/** A picture for a button; what the button does is said by its label. */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", ICONS[name]);
  svg.append(path);
  return svg;
}

/** Other people's text: isolated, so that signs of its own direction do not turn what stands beside it. */
export const theirs = (text, attributes = {}) => el("bdi", attributes, undirected(text));

/** Without signs that turn the direction of what follows: a name could look like another one. */
export const undirected = (text) => text.replace(/[\u200e\u200f\u061c\u202a-\u202e\u2066-\u2069]/g, "");

/** Show a text, or hide the element where there is none. */
export function say(element, text) {
  element.textContent = text;
  element.hidden = !text;
}

/** Seconds as m:ss or h:mm:ss. */
export function clock(seconds) {
  const whole = Math.max(0, Math.floor(seconds || 0));
  const [h, m, s] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const two = (value) => String(value).padStart(2, "0");
  return h ? `${h}:${two(m)}:${two(s)}` : `${m}:${two(s)}`;
}

/** Seconds as they are read aloud. */
export function spoken(seconds) {
  const whole = Math.max(0, Math.round(seconds || 0));
  const minutes = Math.floor(whole / 60);
  return minutes ? `${minutes} min ${whole % 60} s` : `${whole} s`;
}

/** "1 song", "2 songs". */
export const count = (n, word) => `${n.toLocaleString("en")} ${word}${n === 1 ? "" : "s"}`;

/** A start of a text, for labels: names can be pages long. */
export function short(text, most = 120) {
  const letters = Array.from(undirected(text.slice(0, 8 * most)));
  return letters.length > most ? `${letters.slice(0, most - 1).join("")}…` : letters.join("");
}

/** The value of a CSS variable of the theme. */
export const themed = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** Make a canvas as fine as the screen; returns its size in CSS pixels and the ratio. */
export function fit(canvas) {
  const ratio = Math.min(window.devicePixelRatio || 1, 2);
  const { clientWidth: width, clientHeight: height } = canvas;
  if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
  }
  return { width, height, ratio };
}
