"use strict";

const LOOK_MS = 500;
const MOST_CALLS = 5;
const SDK_MS = 10000;
const PEOPLE = ["Ada Berg", "Grace Okafor", "Linus Moreau", "Maya Tanaka", "Tomas Rivera", "Ines Novak"];
const COMPANIES = ["Northwind Traders", "Blue Harbor", "Fennel & Rye", "Cobalt Works", "Juniper Freight"];
const EMPTY = { events: "No event yet: look around.", contacts: "Nobody has signed up yet.", accounts: "No company yet." };

const at = (id) => document.getElementById(id);
const random = (list) => list[Math.floor(Math.random() * list.length)];
const slug = (text) => text.toLowerCase().replace(/[^a-z0-9]+/g, "-").replace(/^-|-$/g, "");
const calls = new Map();
const shown = {};
let userId = null;

function element(tag, attributes, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

// ---- who sends ----

// Segment's own snippet, but for where the script and the settings come from: both from this machine.
function loadSdk({ receiver, writeKey }) {
  const methods = ["page", "track", "identify", "group", "alias", "reset", "ready"];
  const analytics = (window.analytics = []);
  analytics.initialize = false;
  analytics.invoked = true;
  for (const method of methods) analytics[method] = (...given) => void analytics.push([method, ...given]);
  analytics._writeKey = writeKey;
  analytics._cdn = receiver;
  analytics._loadOptions = {};
  return new Promise((resolve, reject) => {
    const script = element("script", { src: "/sdk/standalone.js" });
    script.addEventListener("error", () => reject(new Error("the SDK does not load")));
    setTimeout(() => reject(new Error("the SDK does not start")), SDK_MS);
    analytics.ready(resolve);
    document.head.append(script);
  });
}

// What a page without an SDK does: a POST for each call, with the write key in its body.
function plainFetch({ receiver, writeKey }) {
  let anonymousId = crypto.randomUUID();
  let user = null;
  const send = async (type, fields) => {
    const call = { messageId: crypto.randomUUID(), anonymousId, userId: user, timestamp: new Date().toISOString(), writeKey, ...fields };
    const answer = await fetch(`${receiver}/v1/${type}`, { method: "POST", body: JSON.stringify(call) });
    if (!answer.ok) throw new Error(`the receiver answers ${answer.status}`);
    return { event: call };
  };
  return {
    page: (name) => send("page", { name, properties: { url: location.href, title: name } }),
    track: (event, properties) => send("track", { event, properties }),
    identify: (id, traits) => { user = id; return send("identify", { traits }); },
    group: (groupId, traits) => send("group", { groupId, traits }),
    alias: (id) => send("alias", { previousId: anonymousId, userId: id }),
    reset: () => { user = null; anonymousId = crypto.randomUUID(); },
  };
}

// ---- calls ----

async function call(method, ...given) {
  const code = `${method}(${given.map((value) => JSON.stringify(value)).join(", ")})`;
  const state = element("span", {}, "sent");
  at("calls").querySelector(".none")?.remove();
  at("calls").prepend(element("li", {}, element("code", {}, code), state));
  while (at("calls").children.length > MOST_CALLS) at("calls").lastChild.remove();
  const began = performance.now();
  try {
    const context = await window.analytics[method](...given);
    calls.set(context.event.messageId, { state, began });
  } catch (error) {
    state.className = "failed";
    state.textContent = String(error.message || error);
  }
}

function written(ids) {
  for (const id of ids) {
    const made = calls.get(id);
    if (!made) continue;
    calls.delete(id);
    made.state.className = "row";
    made.state.textContent = `a row after ${((performance.now() - made.began) / 1000).toFixed(1)} s`;
  }
}

function tellVisitor() {
  at("visitor").textContent = userId ? `The visitor is ${userId}` : "The visitor is not known yet";
  at("device").disabled = !userId;
  const person = random(PEOPLE);
  at("signup").name.value = person;
  at("signup").email.value = `${slug(person).replace("-", ".")}@${slug(random(COMPANIES))}.example`;
}

function listen() {
  for (const button of document.querySelectorAll("[data-page]")) button.addEventListener("click", () => call("page", button.dataset.page));
  for (const button of document.querySelectorAll("[data-track]")) {
    button.addEventListener("click", () => call("track", button.dataset.track, JSON.parse(button.dataset.properties)));
  }
  at("signup").addEventListener("submit", (event) => {
    event.preventDefault();
    const { name, email } = event.target.elements;
    userId = `${slug(name.value)}-${Math.floor(Math.random() * 900 + 100)}`;
    call("identify", userId, { name: name.value, email: email.value });
    tellVisitor();
  });
  at("company").addEventListener("submit", (event) => {
    event.preventDefault();
    const { name, plan } = event.target.elements;
    call("group", slug(name.value), { name: name.value, plan: plan.value, employees: Math.floor(Math.random() * 400 + 5) });
  });
  at("device").addEventListener("click", async () => {
    window.analytics.reset();
    await call("page", "Home");
    call("alias", userId);
  });
  at("reset").addEventListener("click", () => {
    userId = null;
    window.analytics.reset();
    tellVisitor();
  });
}

// ---- tables ----

function draw(name, rows) {
  const table = at(name);
  if (!rows.length) {
    table.replaceChildren(element("tbody", {}, element("tr", {}, element("td", { class: "none" }, EMPTY[name]))));
    return;
  }
  const columns = Object.keys(rows[0]).filter((column) => column !== "key");
  const before = shown[name];
  shown[name] = new Map(rows.map((row) => [row.key, JSON.stringify(row)]));
  const body = rows.map((row) => {
    const isFresh = before ? before.get(row.key) !== shown[name].get(row.key) : false;
    const cells = columns.map((column) => element("td", { title: text(column, row[column]) }, text(column, row[column])));
    return element("tr", isFresh ? { class: "fresh" } : {}, ...cells);
  });
  table.replaceChildren(
    element("thead", {}, element("tr", {}, ...columns.map((column) => element("th", { scope: "col" }, column)))),
    element("tbody", {}, ...body));
}

function text(column, value) {
  if (value === null || value === undefined) return "";
  return column === "when" ? new Date(value).toLocaleTimeString("en-GB") : String(value);
}

let drawn = "";
async function look() {
  try {
    const answer = await (await fetch("/tables.json")).text();
    if (answer !== drawn) {
      drawn = answer;
      const { tables, written: ids } = JSON.parse(answer);
      for (const [name, rows] of Object.entries(tables)) draw(name, rows);
      written(ids);
    }
  } catch {
    at("sender").textContent = "make live has ended";
  }
  setTimeout(look, LOOK_MS);
}

async function start() {
  const config = await (await fetch("/config.json")).json();
  at("debugger").href = `${config.receiver}/debugger`;
  at("company").name.value = random(COMPANIES);
  at("sender").textContent = config.sdk ? `sent by Segment's own SDK, analytics-next ${config.sdk}` : "sent by plain fetch";
  look();
  if (config.sdk) {
    await loadSdk(config).catch(() => {
      at("sender").textContent = "sent by plain fetch: Segment's SDK did not load";
      window.analytics = plainFetch(config);
    });
  } else window.analytics = plainFetch(config);
  tellVisitor();
  listen();
  document.body.dataset.ready = "true";
}

start();
