// What the page asks of the service. An error is an ApiError whose message is for people.

import { $ } from "./dom.js";

const KEY = "orpheus-token";
const NO_ANSWER = "The service does not answer. Is it still running?";
const NOT_TAKEN = "The service does not take this file: it may be too large.";

export class ApiError extends Error {
  constructor(message, status, code = "") {
    super(message);
    this.status = status;
    this.code = code;
  }
}

/** The token, kept for this tab; where storage is switched off, for this page. */
const token = {
  value: null,
  get() {
    try {
      return sessionStorage.getItem(KEY) ?? this.value;
    } catch {
      return this.value;
    }
  },
  set(value) {
    this.value = value;
    try {
      sessionStorage.setItem(KEY, value);
    } catch {
      // it stays in `value`
    }
  },
};

let prompting = null;

/** Ask for the token, once however many requests want it; false where it is not given. */
function promptForToken(wrong) {
  prompting ??= new Promise((resolve) => {
    const dialog = $("token-dialog");
    $("token-why").hidden = !wrong;
    $("token").value = "";
    let given = false;
    $("token-form").onsubmit = (event) => {
      event.preventDefault();
      token.set($("token").value.trim());
      given = true;
      dialog.close();
    };
    $("token-cancel").onclick = () => dialog.close();
    dialog.onclose = () => {
      prompting = null;
      resolve(given);
    };
    dialog.showModal();
  });
  return prompting;
}

/** Ask the service; `as` is what of the answer is wanted: json, arrayBuffer or blob. */
export async function request(path, { method = "GET", body, signal, as = "json" } = {}) {
  for (;;) {
    const used = token.get();
    const headers = used ? { authorization: `Bearer ${used}` } : {};
    if (body && !(body instanceof FormData)) headers["content-type"] = "application/json";
    let answer;
    try {
      answer = await fetch(path, { method, body, headers, signal });
      if (answer.ok) return await answer[as]();
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new ApiError((body instanceof FormData && (await alive())) ? NOT_TAKEN : NO_ANSWER, 0);
    }
    if (answer.status === 401) {
      if (used !== token.get() || (await promptForToken(used !== null))) continue;
    }
    throw await explained(answer);
  }
}

/** Whether the service runs, though it has not answered. */
async function alive() {
  try {
    return (await fetch("/health")).ok;
  } catch {
    return false;
  }
}

async function explained(answer) {
  let error = {};
  try {
    error = (await answer.json()).error ?? {};
  } catch {
    // not from the service itself, maybe from a proxy before it
  }
  const said = typeof error.message === "string" && error.message ? error.message : `The service answers ${answer.status}`;
  const wait = Number(answer.headers.get("retry-after"));
  const when = answer.status === 429 && wait > 0 ? ` Try again in ${wait} s.` : "";
  return new ApiError(said.charAt(0).toUpperCase() + said.slice(1) + when, answer.status, error.code);
}

/** One run or index, and what can be asked of it. */
export class Model {
  constructor(about) {
    Object.assign(this, { name: about.name, kind: about.kind, songs: about.songs, listeners: about.listeners });
    this.tags = about.tags ?? [];
    this.can = new Set(about.can);
    this.root = `/api/${encodeURIComponent(about.name)}`;
  }

  get hears() {
    return this.can.has("tags");
  }

  get searches() {
    return this.kind === "index" && this.can.has("search");
  }

  get forListeners() {
    return this.can.has("recommend") && this.listeners > 0;
  }

  ask(path, parameters = {}, options = {}) {
    const query = new URLSearchParams(parameters).toString();
    return request(`${this.root}/${path}${query ? `?${query}` : ""}`, options);
  }

  send(path, file, parameters = {}, options = {}) {
    const body = new FormData();
    body.append("file", file, file.name);
    return this.ask(path, parameters, { ...options, method: "POST", body });
  }

  /** Where a song's audio is; only addresses of this service are played. */
  audio(hit) {
    return typeof hit.audio === "string" && hit.audio.startsWith("/api/") ? hit.audio : null;
  }
}

export const models = async () => (await request("/api/models")).map((about) => new Model(about));
