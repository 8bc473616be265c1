// The list of workspaces: rows that follow the stream of events one by one, their menus, names edited in place.

import { send } from "./api.js";
import { localOf } from "./fields.js";
import { refuse } from "./forms.js";
import { changed, locale, now, prefix, say, word, xsrf } from "./page.js";
import { writeTimes } from "./times.js";
import { eventsPanel } from "./events.js";

const root = document.getElementById("workspaces");
const open = new Set();
const waiting = new Set();
const busy = new Map();

const rowOf = (name) => document.getElementById(`ws-${name}`);

/** A row is left alone while somebody types in it or has its menu open; it is fetched when they are done. */
const held = (row) => row.querySelector("input, .dropdown-menu.show") !== null;

function refresh(name) {
  const row = rowOf(name);
  if (!row) return bringSoon();
  if (held(row)) return waiting.add(name);
  const running = busy.get(name);
  if (running) return busy.set(name, "again");
  busy.set(name, "once");
  const focused = row.contains(document.activeElement) ? key(document.activeElement) : null;
  htmx.ajax("GET", `${prefix}/workspaces/${name}/row`, { target: row, swap: "outerHTML", source: root }).then(() => {
    const again = busy.get(name) === "again";
    busy.delete(name);
    restore(name, row.dataset.state, focused);
    if (again) refresh(name);
  });
}

// a workspace that is not shown: it is new, or further down; what belongs on the first part of the list is put on top

let bringTimer = 0;
function bringSoon() {
  if (!document.getElementById("ws-list")) return location.reload(); // the first workspace of all
  clearTimeout(bringTimer);
  bringTimer = setTimeout(bring, 400);
}

async function bring() {
  const asked = new URLSearchParams(location.search);
  const query = new URLSearchParams({ q: asked.get("q") ?? "", state: asked.get("state") ?? "" });
  const answer = await fetch(`${prefix}/workspaces/rows?${query}`, { headers: { "HX-Request": "true", "X-XSRFToken": xsrf(), "Accept-Language": locale } }).catch(() => null);
  if (!answer?.ok) return;
  const part = document.createElement("template");
  part.innerHTML = `<table>${await answer.text()}</table>`;
  const fresh = [...part.content.querySelectorAll("tbody.ws")].filter((row) => !rowOf(row.dataset.name));
  const table = document.getElementById("ws-rows");
  if (!table) return fresh.length ? location.reload() : undefined;
  const top = table.querySelector("tbody");
  for (const row of fresh) {
    table.insertBefore(row, top);
    htmx.process(row);
    writeTimes(row);
    named(row);
  }
}

/** The events window can be asked for it too. */
function named(row) {
  const choice = document.getElementById("events-of");
  if (choice && ![...choice.options].some((option) => option.value === row.dataset.name)) choice.add(new Option(row.dataset.title, row.dataset.name));
}

// rows that moved while somebody read come twice: the one that stands already stays; the caret goes on with the new ones
let lastShown = null;
document.addEventListener("htmx:beforeSwap", (event) => {
  if (event.detail.target.classList?.contains("ws-more")) lastShown = event.detail.target.previousElementSibling;
});
document.addEventListener("htmx:afterSwap", (event) => {
  if (!event.detail.target.classList?.contains("ws-more")) return;
  const shown = new Set();
  for (const row of root.querySelectorAll("tbody.ws")) {
    if (shown.has(row.id)) row.remove();
    shown.add(row.id);
  }
  lastShown?.nextElementSibling?.querySelector("button")?.focus({ preventScroll: true });
});

// what was opened while a row was on its way stays open: the row comes again later
document.addEventListener("htmx:beforeSwap", (event) => {
  const row = event.detail.target;
  if (!row.classList?.contains("ws")) return;
  if (event.detail.xhr.status === 404) {
    event.detail.shouldSwap = true;
    event.detail.serverResponse = "";
  } else if (held(row)) {
    event.detail.shouldSwap = false;
    waiting.add(row.dataset.name);
  }
});

/** What a control is, so that the focus finds it again in the new row. */
const key = (control) => [control.tagName, control.dataset.menu ?? control.dataset.events ?? control.dataset.say ?? control.className].join();

function restore(name, before, focused) {
  const row = rowOf(name);
  if (!row) return;
  if (open.has(name)) toggleWhy(row, true);
  if (focused) ([...row.querySelectorAll("button, a")].find((c) => key(c) === focused) ?? row.querySelector("a, button"))?.focus();
  if (before !== row.dataset.state) say(word("state_now", { name: row.dataset.title, state: row.querySelector(".state-word").textContent }));
}

function toggleWhy(row, on) {
  const button = row.querySelector("[data-why]");
  button.setAttribute("aria-expanded", String(on));
  row.querySelector("tr.why").hidden = !on;
  if (on) open.add(row.dataset.name);
  else open.delete(row.dataset.name);
  // the list comes without the sentences; a row fetched alone has them
  if (on && !row.querySelector("tr.why ul")) refresh(row.dataset.name);
}

// menus: one template for all rows, put under the button that is pressed

function fillMenu(menu, button, row) {
  const name = row.dataset.name;
  const lab = menu.querySelector('[data-item="lab"]');
  if (lab) {
    lab.href = `${button.dataset.server}/lab`;
    menu.querySelector('[data-item="code"]').href = `${button.dataset.server}/vscode/?folder=/home/user`;
  }
  const clone = menu.querySelector('[data-item="clone"]');
  if (clone) clone.href = `${prefix}/workspaces/new?clone=${encodeURIComponent(name)}`;
  for (const item of menu.querySelectorAll("[data-needs]")) item.disabled = button.dataset[item.dataset.needs] !== "true";
  const off = menu.querySelector('[data-extend="off"]');
  if (off) off.disabled = !row.dataset.autoStop;
}

function openMenu(button) {
  const row = button.closest(".ws");
  const template = document.getElementById("menu-template").content.querySelector(`[data-for="${button.dataset.menu}"]`);
  const menu = template.cloneNode(true);
  fillMenu(menu, button, row);
  button.after(menu);
  button.dataset.bsToggle = "dropdown";
  const dropdown = new bootstrap.Dropdown(button, { popperConfig: { strategy: "fixed" } });
  button.addEventListener("hidden.bs.dropdown", () => setTimeout(() => {
    dropdown.dispose();
    menu.remove();
    delete button.dataset.bsToggle;
    if (waiting.delete(row.dataset.name)) refresh(row.dataset.name);
  }), { once: true });
  dropdown.show();
}

async function extend(row, minutes) {
  const base = Math.max(Date.parse(row.dataset.autoStop || 0) || 0, now());
  const autoStop = minutes === "off" ? null : { at: new Date(base + Number(minutes) * 60000).toISOString().replace(/\.\d+Z$/, "Z") };
  await change(row, { auto_stop: autoStop }, minutes === "off" ? "auto_stop_off" : "auto_stop_set");
}

async function change(row, body, done) {
  const answer = await send("PATCH", `workspaces/${row.dataset.name}`, body);
  if (answer.ok) say(word(done, { name: row.dataset.title }));
  else refuse(answer.error);
  refresh(row.dataset.name);
  changed();
  return answer;
}

function openDialog(row, kind) {
  htmx.ajax("GET", `${prefix}/workspaces/${row.dataset.name}/dialog/${kind}`, { target: "#dialog-body", source: root });
}

// renaming in place

function rename(row) {
  const cell = row.querySelector(".c-name");
  const name = cell.querySelector(".name");
  const input = document.createElement("input");
  input.className = "form-control form-control-sm rename-input";
  input.value = row.dataset.title;
  input.maxLength = 60;
  input.setAttribute("aria-label", cell.querySelector("[data-rename]").getAttribute("aria-label"));
  const problem = document.createElement("div");
  problem.className = "field-error";
  problem.id = `error-rename-${row.dataset.name}`;
  input.setAttribute("aria-describedby", problem.id);
  let over = false;
  const end = () => {
    over = true;
    input.remove();
    problem.remove();
    name.hidden = false;
    cell.querySelector("[data-rename]").hidden = false;
    if (waiting.delete(row.dataset.name)) refresh(row.dataset.name);
  };
  const save = async () => {
    if (over || input.readOnly) return;
    if (input.value.trim() === row.dataset.title) return end();
    input.readOnly = true;
    const answer = await send("PATCH", `workspaces/${row.dataset.name}`, { display_name: input.value });
    input.readOnly = false;
    if (!answer.ok) {
      problem.textContent = answer.error.message;
      input.setAttribute("aria-invalid", "true");
      input.focus();
      return;
    }
    name.textContent = answer.data?.display_name ?? input.value.trim();
    row.dataset.title = name.textContent;
    const option = document.querySelector(`#events-of option[value="${CSS.escape(row.dataset.name)}"]`);
    if (option) option.textContent = name.textContent;
    end();
    cell.querySelector("[data-rename]").focus();
    refresh(row.dataset.name);
  };
  input.addEventListener("keydown", (event) => {
    if (event.key === "Enter") { event.preventDefault(); save(); }
    if (event.key === "Escape") { end(); cell.querySelector("[data-rename]").focus(); }
  });
  input.addEventListener("blur", () => { if (!input.hasAttribute("aria-invalid")) save(); });
  name.hidden = true;
  cell.querySelector("[data-rename]").hidden = true;
  name.after(input, problem);
  input.focus();
  input.select();
}

document.addEventListener("htmx:load", (event) => {
  for (const input of event.target.querySelectorAll?.("input[data-local]") ?? []) input.value = localOf(input.dataset.local);
});

// the stream

let source = null;
let last = Number(root?.dataset.cursor ?? 0);

/** Whether what is shown is live: in the events window, and over the list, which would else look true while it grows old. */
function live(panel, on) {
  panel?.live(on);
  const note = document.getElementById("list-lost");
  if (note) note.textContent = on ? "" : word("reconnecting");
}

/** The stream was refused, not cut off: perhaps the session is over, which nobody can mend by asking again. */
async function again(panel) {
  const answer = await send("GET", "me");
  if (answer.status !== 401) setTimeout(() => listen(panel), 3000);
}

function listen(panel) {
  if (source || document.hidden) return;
  source = new EventSource(`${prefix}/api/v1/events/stream?after=${last}&_xsrf=${encodeURIComponent(xsrf())}`);
  source.addEventListener("open", () => live(panel, true));
  source.addEventListener("workspace", (message) => {
    last = Math.max(last, Number(message.lastEventId) || 0);
    const event = JSON.parse(message.data);
    refresh(event.workspace ?? event.workspace_name);
    panel?.refresh();
    changedSoon();
  });
  source.addEventListener("error", () => {
    live(panel, false);
    if (source?.readyState === EventSource.CLOSED) {
      source = null;
      again(panel);
    }
  });
}

let changeTimer = 0;
function changedSoon() {
  clearTimeout(changeTimer);
  changeTimer = setTimeout(changed, 500);
}

// a hidden tab keeps no connection: browsers allow six to a site, and it catches up when it is seen again
function visible(panel) {
  if (document.hidden) {
    source?.close();
    source = null;
  } else {
    listen(panel);
  }
}

if (root) {
  const panel = eventsPanel();
  root.addEventListener("click", (event) => {
    const row = event.target.closest(".ws");
    const button = event.target.closest("button, a");
    if (!button) return;
    if (button.hasAttribute("data-events")) panel.open(button.dataset.events);
    if (!row) return;
    if (button.hasAttribute("data-why")) toggleWhy(row, button.getAttribute("aria-expanded") !== "true");
    if (button.dataset.menu && !button.dataset.bsToggle) openMenu(button);
    if (button.dataset.extend) extend(row, button.dataset.extend);
    if (button.dataset.dialog) openDialog(row, button.dataset.dialog);
    if (button.hasAttribute("data-rename")) rename(row);
  });
  root.addEventListener("keydown", (event) => {
    const button = event.target.closest("[data-menu]");
    if (button && event.key === "ArrowDown" && !button.dataset.bsToggle) { event.preventDefault(); openMenu(button); }
  });
  document.addEventListener("ark:written", (event) => {
    const name = /^workspaces\/([a-z0-9-]+)/.exec(event.detail.path)?.[1];
    if (name) refresh(name);
  });
  document.addEventListener("visibilitychange", () => visible(panel));
  // a browser that lost its network can keep a dead connection open for minutes
  addEventListener("offline", () => { source?.close(); source = null; live(panel, false); });
  addEventListener("online", () => listen(panel));
  addEventListener("pagehide", () => source?.close());
  listen(panel);
  if (root.dataset.new) history.replaceState(null, "", `${prefix}/workspaces`);
}
