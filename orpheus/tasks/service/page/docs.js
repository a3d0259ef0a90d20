// openapi.json as a page: what can be asked, with which parameters, and what the answers are.

import { $, el, say } from "./dom.js";

const METHODS = ["get", "post"];

/** A schema as a short text: string, number from 1 to 200, list of Hit … */
function kind(schema = {}) {
  if (schema.$ref) return schema.$ref.split("/").pop();
  const choices = schema.anyOf ?? schema.oneOf;
  if (choices) return choices.map(kind).filter((one) => one !== "null").join(" or ");
  if (schema.type === "array") return `list of ${kind(schema.items)}`;
  if (schema.format === "binary") return "file";
  return schema.type ?? "anything";
}

function limits(schema = {}) {
  const own = [schema, ...(schema.anyOf ?? [])].find((one) => one.type && one.type !== "null") ?? schema;
  const said = [];
  if (own.minimum !== undefined || own.maximum !== undefined)
    said.push([own.minimum, own.maximum].map((value) => value ?? "").join(" to "));
  if (own.exclusiveMinimum !== undefined) said.push(`above ${own.exclusiveMinimum}`);
  if (own.maxLength !== undefined) said.push(`at most ${own.maxLength} characters`);
  if (own.maxItems !== undefined) said.push(`at most ${own.maxItems}`);
  if (schema.default !== undefined && schema.default !== null && schema.default !== "") said.push(`default ${JSON.stringify(schema.default)}`);
  return said.join("; ");
}

/** An example of what a schema describes, its references followed. */
function example(schema, all, depth = 0) {
  if (!schema || depth > 6) return null;
  if (schema.$ref) return example(all[schema.$ref.split("/").pop()], all, depth + 1);
  const choices = schema.anyOf ?? schema.oneOf;
  if (choices) return example(choices.find((one) => one.type !== "null"), all, depth + 1);
  if (schema.type === "object")
    return Object.fromEntries(Object.entries(schema.properties ?? {}).map(([name, one]) => [name, example(one, all, depth + 1)]));
  if (schema.type === "array") return [example(schema.items, all, depth + 1)];
  return { string: "…", integer: 0, number: 0.5, boolean: true }[schema.type] ?? null;
}

function table(heads, rows) {
  const line = (cells, tag) => el("tr", {}, ...cells.map((cell) => el(tag, tag === "th" ? { scope: "col" } : {}, cell)));
  return el("table", {}, el("thead", {}, line(heads, "th")), el("tbody", {}, ...rows.map((row) => line(row, "td"))));
}

function parameters(operation) {
  const rows = (operation.parameters ?? []).map((one) => [
    el("code", {}, one.name),
    `${one.in}${one.required ? ", needed" : ""}`,
    kind(one.schema),
    [one.description, limits(one.schema)].filter(Boolean).join("; "),
  ]);
  const form = operation.requestBody?.content?.["multipart/form-data"]?.schema?.properties ?? {};
  for (const [name, one] of Object.entries(form)) rows.push([el("code", {}, name), "form, needed", kind(one), one.description ?? ""]);
  return rows;
}

function shown(path, method, operation, all) {
  const body = el("div", {});
  if (operation.description) body.append(el("p", {}, operation.description));
  const rows = parameters(operation);
  if (rows.length) body.append(el("h3", {}, "Parameters"), table(["Name", "Where", "Kind", "Meaning"], rows));
  const sent = operation.requestBody?.content?.["application/json"]?.schema;
  if (sent) body.append(el("h3", {}, "Body"), el("pre", { tabindex: "0" }, JSON.stringify(example(sent, all), null, 1)));
  const content = operation.responses?.["200"]?.content ?? {};
  for (const [type, one] of Object.entries(content)) {
    body.append(el("h3", {}, `Answer: ${type}`));
    if (type === "application/json") body.append(el("pre", { tabindex: "0" }, JSON.stringify(example(one.schema, all), null, 1)));
  }
  const failures = Object.entries(operation.responses ?? {}).filter(([status]) => status !== "200");
  body.append(el("h3", {}, "Other answers"), table(["Status", "Reason"], failures.map(([status, one]) => [status, one.description ?? ""])));
  const head = el("summary", {}, el("span", { class: "method" }, method.toUpperCase()), el("code", {}, path), el("span", {}, operation.summary ?? ""));
  return el("details", {}, head, body);
}

async function show() {
  const place = $("operations");
  try {
    const described = await (await fetch("/openapi.json")).json();
    const groups = new Map();
    for (const [path, operations] of Object.entries(described.paths)) {
      for (const method of METHODS.filter((one) => operations[one])) {
        const operation = operations[method];
        const group = operation.tags?.[0] ?? "";
        if (!groups.has(group)) groups.set(group, []);
        groups.get(group).push(shown(path, method, operation, described.components?.schemas ?? {}));
      }
    }
    for (const [group, found] of groups) place.append(el("h2", {}, group.charAt(0).toUpperCase() + group.slice(1)), ...found);
  } catch {
    say($("problem"), "The service does not answer. Is it still running?");
  }
  place.removeAttribute("aria-busy");
}

show();
