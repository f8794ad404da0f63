"use strict";

// Everything that was sent is shown as text: nothing here makes elements from it.

const ROW = 30;
const MARGIN = 6;
const OUTCOMES = [
  ["event", "events"],
  ["identity_call", "identity calls"],
  ["dead_letter", "dead letters"],
  ["disabled", "disabled"],
];
const OUTCOME = { event: "event", identity_call: "identity call", dead_letter: "dead letter", disabled: "disabled" };
const TYPES = ["identify", "track", "page", "screen", "group", "alias", "delete"];
const UNREADABLE = "-";
const TOKENS = /"(?:[^"\\]|\\[^])*"?|[{}[\],:]|[^\s{}[\],:"]+/g;
const DEEPEST = 40;

const at = (id) => document.getElementById(id);
const state = {
  calls: [], shown: [], waiting: [], paused: false, selected: null, numbered: 0,
  capacity: 500, columns: {}, lastId: "", missing: 0, hidden: new Set(), elements: new Map(), drawn: 0,
};

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== null) made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

// ---- what comes ----

function follow() {
  const stream = new EventSource(`/debugger/calls${state.lastId ? `?after=${encodeURIComponent(state.lastId)}` : ""}`);
  stream.addEventListener("open", () => tell());
  stream.addEventListener("start", (event) => start(JSON.parse(event.data)));
  stream.addEventListener("calls", (event) => {
    state.lastId = event.lastEventId;
    const { missing, calls } = JSON.parse(event.data);
    state.missing += missing;
    arrive(calls);
  });
  stream.addEventListener("error", () => {
    tell("lost", "connection lost, trying again");
    if (stream.readyState !== EventSource.CLOSED) return;
    stream.close();
    setTimeout(follow, 2000);
  });
}

function start({ capacity, connections, columns }) {
  state.capacity = capacity;
  state.columns = columns;
  connections.forEach(knowConnection);
}

function arrive(calls) {
  for (const call of calls) {
    call.id = ++state.numbered;
    call.text = [call.type, call.name, call.who, call.message_id, call.connection, call.outcome, call.reason, call.detail,
      ...(call.effects || []), call.raw.text].join("\n").toLowerCase();
    knowConnection(call.connection);
  }
  const list = state.paused ? state.waiting : state.calls;
  list.push(...calls);
  list.splice(0, Math.max(0, list.length - state.capacity));
  if (state.paused) tell();
  else draw();
}

const known = new Set();
function knowConnection(name) {
  if (known.has(name)) return;
  known.add(name);
  at("connection").append(element("option", { value: name }, name));
}

function tell(kind, text) {
  const shown = at("state");
  const waits = state.waiting.length;
  kind ??= state.paused ? "paused" : "live";
  text ??= state.paused ? "paused" : "live";
  shown.dataset.state = kind;
  if (shown.textContent !== text) shown.textContent = text;
  at("pause").textContent = state.paused ? (waits ? `Go on (${waits} new)` : "Go on") : "Pause";
  at("missing").hidden = !state.missing;
  at("missing").textContent = `${state.missing} ${state.missing === 1 ? "request" : "requests"} came too fast to be shown`;
}

// ---- which are shown ----

function filter() {
  const words = at("search").value.toLowerCase().split(/\s+/).filter(Boolean);
  const connection = at("connection").value;
  const type = at("type").value;
  const counts = {};
  const shown = [];
  for (let i = state.calls.length - 1; i >= 0; i--) {
    const call = state.calls[i];
    if (connection && call.connection !== connection) continue;
    if (type && (call.type || UNREADABLE) !== type) continue;
    if (!words.every((word) => call.text.includes(word))) continue;
    counts[call.outcome] = (counts[call.outcome] || 0) + 1;
    if (!state.hidden.has(call.outcome)) shown.push(call);
  }
  for (const button of at("outcomes").querySelectorAll("button")) {
    button.lastChild.textContent = counts[button.dataset.outcome] || 0;
  }
  return shown;
}

let drawing = false;
function draw() {
  if (drawing) return;
  drawing = true;
  requestAnimationFrame(() => {
    drawing = false;
    const list = at("list");
    const first = state.shown[Math.floor(list.scrollTop / ROW)];
    const offset = list.scrollTop % ROW;
    state.shown = filter();
    at("rows").style.height = `${state.shown.length * ROW}px`;
    // What is looked at stays where it is while newer calls come above it.
    const index = list.scrollTop > 0 && first ? state.shown.indexOf(first) : -1;
    if (index >= 0) list.scrollTop = index * ROW + offset;
    const nothing = at("nothing");
    nothing.hidden = state.shown.length > 0;
    nothing.textContent = state.calls.length
      ? "No call of the last is as the filters ask for."
      : "No call has come yet. Send one to this receiver, and it appears here.";
    tell();
    drawRows();
  });
}

function drawRows() {
  const list = at("list");
  const from = Math.max(0, Math.floor(list.scrollTop / ROW) - MARGIN);
  const visible = state.shown.slice(from, from + Math.ceil(list.clientHeight / ROW) + 2 * MARGIN);
  const gone = new Set(state.elements.keys());
  const rows = visible.map((call, index) => {
    let row = state.elements.get(call.id);
    if (!row) {
      row = rowOf(call);
      state.elements.set(call.id, row);
    }
    gone.delete(call.id);
    row.style.transform = `translateY(${(from + index) * ROW}px)`;
    row.setAttribute("aria-posinset", from + index + 1);
    row.setAttribute("aria-setsize", state.shown.length);
    row.setAttribute("aria-selected", call === state.selected);
    return row;
  });
  for (const id of gone) {
    state.elements.get(id).remove();
    state.elements.delete(id);
  }
  let next = at("rows").firstChild;
  for (const row of rows) {
    if (row === next) next = next.nextSibling;
    else at("rows").insertBefore(row, next);
  }
  state.drawn = Math.max(state.drawn, state.numbered);
  const active = state.selected && state.elements.has(state.selected.id) ? `call-${state.selected.id}` : null;
  if (active) list.setAttribute("aria-activedescendant", active);
  else list.removeAttribute("aria-activedescendant");
}

function rowOf(call) {
  const [time, fraction] = timeOf(call.stored_at);
  const name = call.name || (call.effects || []).join("; ") || call.detail || "";
  const row = element("div", { class: call.id > state.drawn ? "call new" : "call", role: "option", id: `call-${call.id}` },
    element("span", { class: "time" }, time, element("span", { class: "fraction" }, fraction)),
    element("span", { class: "type" }, call.type || "?"),
    element("span", { class: call.name ? "name" : "name effect", title: name || null }, name),
    element("span", { class: "who", title: call.who || null }, call.who || ""),
    element("span", { class: "connection", title: call.connection }, call.connection),
    element("span", { class: "badge", "data-outcome": call.outcome, title: call.reason || null }, call.reason || OUTCOME[call.outcome]));
  row.addEventListener("click", () => select(call));
  return row;
}

function timeOf(milliseconds) {
  const moment = new Date(milliseconds);
  const two = (number) => String(number).padStart(2, "0");
  return [
    `${two(moment.getHours())}:${two(moment.getMinutes())}:${two(moment.getSeconds())}`,
    `.${String(moment.getMilliseconds()).padStart(3, "0")}`,
  ];
}

// ---- the selected call ----

function select(call) {
  state.selected = call;
  const open = call !== null;
  document.querySelector("main").classList.toggle("open", open);
  const details = at("details");
  details.hidden = !open;
  details.replaceChildren(...(open ? detailsOf(call) : []));
  details.scrollTop = 0;
  if (open) scrollTo(state.shown.indexOf(call));
  drawRows();
}

function scrollTo(index) {
  const list = at("list");
  if (index < 0) return;
  if (index * ROW < list.scrollTop) list.scrollTop = index * ROW;
  const hidden = (index + 1) * ROW - list.clientHeight;
  if (hidden > list.scrollTop) list.scrollTop = hidden;
}

function move(steps) {
  const current = state.shown.indexOf(state.selected);
  go(current < 0 ? 0 : current + steps);
}

function go(index) {
  if (state.shown.length) select(state.shown[Math.max(0, Math.min(state.shown.length - 1, index))]);
}

function detailsOf(call) {
  const close = element("button", { type: "button", title: "Esc" }, "Close");
  close.addEventListener("click", () => { select(null); at("list").focus(); });
  const about = [new Date(call.stored_at).toISOString(), call.connection, call.who, call.message_id];
  const parts = [
    element("div", { class: "title" },
      element("span", { class: "badge", "data-outcome": call.outcome }, OUTCOME[call.outcome]),
      element("h2", {}, [call.type, call.name].filter(Boolean).join(" · ") || "unreadable"),
      element("span", { class: "space" }), close),
    element("p", { class: "about" }, about.filter(Boolean).join("  ·  ")),
  ];
  if (call.reason) {
    parts.push(element("div", { class: "notice", "data-outcome": "dead_letter" }, element("strong", {}, call.reason), call.detail || ""));
  }
  if (call.outcome === "disabled") {
    parts.push(element("div", { class: "notice", "data-outcome": "disabled" }, "Its sender's integrations keep it from this destination: it becomes no row."));
  }
  if (call.effects) {
    parts.push(element("div", { class: "notice", "data-outcome": "identity_call" },
      element("ul", {}, ...call.effects.map((effect) => element("li", {}, effect)))));
  }
  const raw = [element("div", { class: "box raw" }, element("h3", {}, "raw, as it was sent"), layout(call.raw))];
  if (call.inherited) raw.push(element("div", { class: "box" }, element("h3", {}, "inherited from its batch"), layout(call.inherited)));
  const read = (call.rows || []).map((row) => element("div", { class: "box read" }, element("h3", {}, `read, a row of ${row.table}`), ...columnsOf(row)));
  parts.push(element("div", { class: "sides" }, element("div", {}, ...raw), element("div", {}, ...read)));
  return parts;
}

function columnsOf({ table, columns }) {
  const list = element("dl", { class: "columns" });
  const empty = [];
  for (const [name, value] of Object.entries(columns)) {
    if (value === null) {
      empty.push(name);
      continue;
    }
    const content = value.is_json ? layout(value) : textOf(value);
    const shown = name === "payload" // what is beside it already
      ? element("details", {}, element("summary", {}, `${value.text.length + (value.left_out || 0)} characters`), content)
      : content;
    list.append(element("dt", { title: (state.columns[table] || {})[name] }, name), element("dd", {}, shown));
  }
  return empty.length ? [list, element("p", { class: "empty" }, `NULL: ${empty.join(", ")}`)] : [list];
}

function textOf({ text, left_out }) {
  const shown = document.createDocumentFragment();
  shown.append(text === "" ? "''" : text, ...leftOut(left_out));
  return shown;
}

function leftOut(count) {
  return count ? [element("span", { class: "left-out" }, ` … ${count} more characters`)] : [];
}

// JSON in lines, each value as it was written: JavaScript's own numbers would not be.
function layout({ text, left_out }) {
  const shown = element("pre");
  if (isJson(text, left_out)) lay(text, shown);
  else shown.append(text);
  shown.append(...leftOut(left_out));
  return shown;
}

function isJson(text, left_out) {
  if (left_out) return /^\s*[{[]/.test(text);
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

function lay(text, shown) {
  const tokens = text.match(TOKENS) || [];
  let level = 0;
  let plain = "";
  const line = () => `\n${"  ".repeat(Math.min(level, DEEPEST))}`;
  const put = (kind, token) => {
    shown.append(plain, element("span", { class: kind }, token));
    plain = "";
  };
  tokens.forEach((token, index) => {
    const next = tokens[index + 1];
    if (token === "{" || token === "[") {
      level += 1;
      plain += token + (next === "}" || next === "]" ? "" : line());
    } else if (token === "}" || token === "]") {
      level -= 1;
      plain += (tokens[index - 1] === "{" || tokens[index - 1] === "[" ? "" : line()) + token;
    } else if (token === ",") plain += `,${line()}`;
    else if (token === ":") plain += ": ";
    else if (token[0] === '"') put(next === ":" ? "k" : "s", token);
    else put(/^[-\d]/.test(token) ? "n" : "w", token);
  });
  shown.append(plain);
}

// ---- what the reader does ----

function pause() {
  state.paused = !state.paused;
  at("pause").setAttribute("aria-pressed", state.paused);
  if (!state.paused) {
    state.calls.push(...state.waiting);
    state.calls.splice(0, Math.max(0, state.calls.length - state.capacity));
    state.waiting = [];
  }
  tell();
  draw();
}

function clear() {
  state.calls = [];
  state.waiting = [];
  state.missing = 0;
  select(null);
  draw();
}

function toggle(button) {
  const { outcome } = button.dataset;
  if (!state.hidden.delete(outcome)) state.hidden.add(outcome);
  button.setAttribute("aria-pressed", !state.hidden.has(outcome));
  draw();
}

const KEYS = {
  j: () => move(1), ArrowDown: () => move(1), k: () => move(-1), ArrowUp: () => move(-1),
  Home: () => go(0), End: () => go(state.shown.length - 1),
  PageDown: () => move(10), PageUp: () => move(-10),
  "/": () => at("search").focus(), p: pause, c: clear, "?": () => at("keys").showModal(),
  Escape: () => select(null),
};

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || at("keys").open) return;
  const { target, key } = event;
  if (key === "Escape" && target.matches("input, select")) {
    if (target.id === "search" && target.value) {
      target.value = "";
      draw();
    } else at("list").focus();
    return;
  }
  if (target.matches("input, select") || (target.matches("button, summary") && (key === "Enter" || key === " "))) return;
  if (/^(Arrow|Page|Home|End)/.test(key) && at("details").contains(target)) return;
  const button = at("outcomes").querySelectorAll("button")[Number(key) - 1];
  const action = KEYS[key] || (button && (() => toggle(button)));
  if (!action) return;
  event.preventDefault();
  action();
}

function build() {
  at("type").append(...TYPES.map((type) => element("option", { value: type }, type)), element("option", { value: UNREADABLE }, "unreadable"));
  OUTCOMES.forEach(([outcome, name], index) => {
    const button = element("button", { type: "button", "data-outcome": outcome, "aria-pressed": "true", title: String(index + 1) }, name, element("span", { class: "count" }, "0"));
    button.addEventListener("click", () => toggle(button));
    at("outcomes").append(button);
  });
  at("filters").addEventListener("submit", (event) => event.preventDefault());
  for (const id of ["search", "connection", "type"]) at(id).addEventListener("input", draw);
  at("pause").addEventListener("click", pause);
  at("clear").addEventListener("click", clear);
  at("help").addEventListener("click", () => at("keys").showModal());
  at("list").addEventListener("scroll", drawRows, { passive: true });
  addEventListener("resize", drawRows);
  document.addEventListener("keydown", onKey);
  draw();
}

build();
follow();
