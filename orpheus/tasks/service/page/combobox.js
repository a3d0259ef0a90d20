// A text field with suggestions: the combobox pattern of the ARIA Authoring Practices (list, manual selection).

import { el, theirs } from "./dom.js";

const WAIT_MS = 120; // after the last key, before suggestions are asked for

/**
 * Give a text field suggestions.
 *
 * `part(input)` says which part of the text is completed: {text, start, end}; `suggest(text, signal)` is asked for the
 * suggestions; `accept(input, chosen, part)` puts one in.
 */
export function combobox(input, { label, part, suggest, accept }) {
  const list = el("ul", { role: "listbox", id: `${input.id}-suggestions`, "aria-label": label, hidden: true });
  const attributes = {
    role: "combobox",
    "aria-autocomplete": "list",
    "aria-expanded": "false",
    "aria-controls": list.id,
    autocomplete: "off",
  };
  for (const [name, value] of Object.entries(attributes)) input.setAttribute(name, value);
  input.after(list);
  let active = -1;
  let timer = 0;
  let asking = null;

  const close = () => {
    clearTimeout(timer);
    asking?.abort();
    list.hidden = true;
    active = -1;
    input.setAttribute("aria-expanded", "false");
    input.removeAttribute("aria-activedescendant");
  };
  const activate = (number) => {
    list.children[active]?.setAttribute("aria-selected", "false");
    active = number;
    const option = list.children[active];
    if (!option) return input.removeAttribute("aria-activedescendant");
    option.setAttribute("aria-selected", "true");
    option.scrollIntoView({ block: "nearest" });
    input.setAttribute("aria-activedescendant", option.id);
  };
  const choose = (number) => {
    const chosen = list.children[number].suggestion;
    close();
    accept(input, chosen, part(input));
  };
  const show = (suggestions) => {
    list.replaceChildren(
      ...suggestions.map((text, number) => {
        const option = el("li", { role: "option", id: `${list.id}-${number}`, "aria-selected": "false" }, theirs(text));
        option.suggestion = text;
        option.addEventListener("pointerdown", (event) => {
          event.preventDefault(); // the field keeps the focus
          choose(number);
        });
        return option;
      }),
    );
    active = -1;
    input.removeAttribute("aria-activedescendant");
    list.hidden = !suggestions.length;
    input.setAttribute("aria-expanded", String(!list.hidden));
  };
  const ask = async () => {
    asking?.abort();
    asking = new AbortController();
    const { signal } = asking;
    const { text } = part(input);
    if (!text) return close();
    try {
      const suggestions = await suggest(text, signal);
      const same = suggestions.length === 1 && suggestions[0] === text;
      if (!signal.aborted && document.activeElement === input) show(same ? [] : suggestions);
    } catch (error) {
      if (error.name !== "AbortError") close(); // the search itself will say what is wrong
    }
  };

  input.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(ask, WAIT_MS);
  });
  input.addEventListener("blur", close);
  input.addEventListener("keydown", (event) => {
    const last = list.children.length - 1;
    if (event.key === "Enter" && (list.hidden || active < 0)) return close(); // the form is sent
    if (event.key === "ArrowDown" && list.hidden) ask();
    else if (list.hidden) return;
    else if (event.key === "ArrowDown") activate(active < last ? active + 1 : 0);
    else if (event.key === "ArrowUp") activate(active > 0 ? active - 1 : last);
    else if (event.key === "Enter") choose(active);
    else if (event.key === "Escape") close();
    else return;
    event.preventDefault();
    event.stopPropagation();
  });
  return { close };
}

/** The whole text is completed. */
export const whole = (input) => ({ text: input.value.trim(), start: 0, end: input.value.length });

/** The word or phrase before the caret is completed; a minus and a quote before it are not part of it. */
export function lastTerm(input) {
  const end = input.selectionStart ?? input.value.length;
  const before = input.value.slice(0, end);
  const open = (before.match(/"/g)?.length ?? 0) % 2 === 1;
  const start = open ? before.lastIndexOf('"') + 1 : before.search(/[^\s"]*$/) + (/(^|\s)-[^\s"]*$/.test(before) ? 1 : 0);
  return { text: before.slice(start).trimStart(), start: open ? start - 1 : start, end };
}

/** Put a tag in for what was begun; one of several words in quotes. */
export function putTerm(input, tag, { start, end }) {
  const put = /\s/.test(tag) ? `"${tag.replaceAll('"', "")}"` : tag;
  const rest = input.value.slice(end).replace(/^[^\s"]*"?/, "");
  input.value = `${input.value.slice(0, start)}${put} ${rest.trimStart()}`;
  input.setSelectionRange(start + put.length + 1, start + put.length + 1);
}
