// What is shown is in the address (#view?parameters), so that back, reload and bookmarks work.

const VIEWS = ["search", "map", "file", "playlist"];
const LISTS = ["like", "tag", "without"];
const TEXTS = ["model", "q", "listener", "start", "end", "weight_words", "weight_listener", "diversity", "k"];
const SWITCHES = ["artists_once", "include_heard", "mine"];

/** View and parameters of the address; what is not known there is left out. */
export function read() {
  const [view, query = ""] = location.hash.slice(1).split(/\?(.*)/s);
  const given = new URLSearchParams(query);
  const state = { view: VIEWS.includes(view) ? view : null };
  for (const name of TEXTS) state[name] = given.get(name) ?? "";
  for (const name of LISTS) state[name] = given.getAll(name);
  for (const name of SWITCHES) state[name] = given.get(name) === "true";
  return state;
}

/** The parameters of a state that are not at their defaults. */
export function parameters(state) {
  const found = new URLSearchParams();
  for (const name of TEXTS) if (state[name]) found.set(name, state[name]);
  for (const name of LISTS) for (const value of state[name] ?? []) found.append(name, value);
  for (const name of SWITCHES) if (state[name]) found.set(name, "true");
  return found;
}

export function address(state) {
  const query = parameters(state).toString();
  return `#${state.view}${query ? `?${query}` : ""}`;
}

/** Go to a state: a step that back returns from, or with `replace` a change of the present one. */
export function go(state, { replace = false } = {}) {
  const to = address(state);
  if (to === location.hash) {
    window.dispatchEvent(new Event("hashchange"));
  } else if (replace) {
    history.replaceState(null, "", to);
    window.dispatchEvent(new Event("hashchange"));
  } else {
    location.hash = to;
  }
}
