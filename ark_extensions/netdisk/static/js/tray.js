// Transfers: a queue of uploads, some at a time, each with progress, speed, pause, resume and retry; and running copies.

import { $, button, call, choose, complain, el, icon, join, nameOf, say, shown, size, word } from "./base.js";
import { Refused, Upload } from "./tus.js";

const AT_ONCE = 6;
const SHOWN_MAX = 300;
const waiting = [];
const items = new Set();
let running = 0;
let done = 0;
let all = 0;
let forAll = null;
let asking = Promise.resolve();
let finished = () => {};

export const onFinished = (act) => { finished = act; };

/** `entries`: [file, path]. */
export function enqueue(entries) {
  $("nd-tray").hidden = false;
  if (waiting.length === 0 && running === 0) forAll = null;
  for (const [file, path] of entries) {
    all += 1;
    const item = new Item(file, path);
    waiting.push(item);
    if (items.size < SHOWN_MAX) item.place();
  }
  next();
}

function next() {
  while (running < AT_ONCE && waiting.length) {
    const item = waiting.shift();
    if (item.gone) continue;
    running += 1;
    item.place();
    item.run().finally(() => { running -= 1; next(); summary(); });
  }
  summary();
}

function summary() {
  $("nd-tray-state").textContent = word("tray_state", { done, all });
  if (running === 0 && waiting.length === 0) finished(true);
}

class Item {
  constructor(file, path) {
    this.upload = new Upload(file, path, "refuse", () => this.draw());
    this.state = "waiting";
    this.speed = 0;
    this.samples = [];
  }

  place() {
    if (this.element) return;
    this.what = el("span", { class: "nd-what", title: shown(this.upload.path) }, shown(nameOf(this.upload.path)));
    this.said = el("span", { class: "sub num" });
    this.buttons = el("span", {});
    this.bar = el("progress", { max: "1", value: "0", "aria-label": shown(this.upload.path) });
    this.element = el("li", {}, el("div", { class: "nd-line" }, this.what, this.said, this.buttons), this.bar);
    $("nd-tray-list").append(this.element);
    items.add(this);
    this.draw();
  }

  async run() {
    this.set("running");
    try {
      const path = await this.upload.run();
      if (path === null) { if (!this.gone) this.set("paused"); return; }
      done += 1;
      this.what.textContent = shown(nameOf(path));
      this.set("done");
      finished(false);
      setTimeout(() => this.remove(), 4000);
    } catch (reason) {
      if (reason instanceof Refused && reason.code === "exists" && (await this.resolve())) return this.run();
      if (this.gone) return;
      this.reason = reason instanceof Refused && reason.message ? reason.message : word("offline");
      if (reason instanceof Refused && reason.code === "unauthenticated") complain(reason);
      this.set("failed");
    }
  }

  /** Something of this name is there: the user chooses, one question at a time. → whether to go on. */
  async resolve() {
    const question = async () => {
      if (forAll) return forAll;
      const answers = [["skip", word("skip")], ["keep_both", word("keep_both")], ["replace", word("replace"), "btn btn-sm btn-primary"]];
      const { key, all: always } = await choose(word("conflict", { name: shown(nameOf(this.upload.path)) }), answers, { box: word("for_all") });
      if (always && key) forAll = key;
      return key;
    };
    const answer = await (asking = asking.then(question));
    if (answer === "replace" || answer === "keep_both") {
      this.upload.conflict = answer;
      return true;
    }
    all -= 1;
    this.remove();
    return false;
  }

  again() {
    this.set("waiting");
    waiting.push(this);
    next();
  }

  async drop() {
    this.gone = true;
    if (this.state !== "done") all -= 1;
    this.remove();
    await this.upload.forget();
    summary();
  }

  remove() {
    this.gone = true;
    items.delete(this);
    this.element?.remove();
    if (items.size === 0 && running === 0 && waiting.length === 0) { $("nd-tray").hidden = true; all = done = 0; }
  }

  set(state) {
    this.state = state;
    this.samples = [];
    if (this.buttons) this.drawButtons();
    this.draw();
  }

  drawButtons() {
    const small = (name, act, iconName) => {
      const made = button("", act, "btn btn-xs btn-quiet", iconName);
      made.setAttribute("aria-label", `${word(name)}: ${shown(nameOf(this.upload.path))}`);
      made.title = word(name);
      return made;
    };
    const buttons = [];
    if (this.state === "running") buttons.push(small("pause", () => this.upload.pause(), "pause"));
    if (this.state === "paused") buttons.push(small("resume", () => this.again(), "play"));
    if (this.state === "failed") buttons.push(small("retry", () => this.again(), "arrow-clockwise"));
    if (this.state !== "done") buttons.push(small("remove", () => this.drop(), "x"));
    this.buttons.replaceChildren(...buttons);
  }

  draw() {
    if (!this.element) return;
    const { sent, file, note } = this.upload;
    const now = performance.now();
    this.samples.push([now, sent]);
    while (this.samples.length > 2 && now - this.samples[0][0] > 3000) this.samples.shift();
    const [first, before] = this.samples[0];
    const speed = now - first > 200 ? Math.max(0, ((sent - before) / (now - first)) * 1000) : 0;
    const percent = file.size ? Math.floor((100 * sent) / file.size) : 0;
    this.bar.value = this.state === "done" ? 1 : file.size ? sent / file.size : 0;
    const texts = {
      waiting: word("waiting"), running: note ? word(note) : word("uploading", { percent, speed: size(speed) }), paused: word("paused", { percent }),
      done: word("upload_done"), failed: word("upload_failed", { reason: this.reason ?? "" }),
    };
    this.said.textContent = texts[this.state];
    this.said.title = this.reason ?? "";
  }
}

/** Follow a copy on the server until it has ended. */
export async function follow(job, saying = "copying") {
  $("nd-tray").hidden = false;
  const said = el("span", { class: "nd-what" });
  const bar = el("progress", { max: "1", value: "0", "aria-label": word("copy") });
  const stop = button(word("stop"), () => call("DELETE", `copies/${job.id}`), "btn btn-xs btn-quiet");
  const line = el("li", {}, el("div", { class: "nd-line" }, icon("copy"), said, stop), bar);
  $("nd-tray-list").append(line);
  for (let state = job; ;) {
    const part = state.total_bytes ? state.done_bytes / state.total_bytes : state.total_files ? state.done_files / state.total_files : 0;
    said.textContent = word(saying, { name: shown(nameOf(state.items[0])), percent: Math.min(100, Math.floor(100 * part)) });
    bar.value = part;
    if (state.state !== "running") {
      line.remove();
      if (items.size === 0) $("nd-tray").hidden = true;
      if (state.state === "done") say(word("copy_done", { path: shown(state.results.at(-1)) }));
      else if (state.state === "stopped") say(word("copy_stopped"));
      else complain(state.error);
      finished(true);
      return;
    }
    await new Promise((resolve) => setTimeout(resolve, 400));
    const answer = await call("GET", `copies/${job.id}`);
    if (answer.ok) state = answer.data;
    else if (answer.status) { line.remove(); return; }
  }
}

/** Files of a drop, folders walked. → [[file, path], …] */
export async function dropped(transfer, folder) {
  const found = [];
  const walk = async (entry, into) => {
    if (entry.isFile) {
      const file = await new Promise((resolve, reject) => entry.file(resolve, reject)).catch(() => null);
      if (file) found.push([file, join(into, entry.name)]);
      return;
    }
    const reader = entry.createReader();
    for (;;) {
      const batch = await new Promise((resolve, reject) => reader.readEntries(resolve, reject)).catch(() => []);
      if (!batch.length) return;
      for (const inner of batch) await walk(inner, join(into, entry.name));
    }
  };
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.length) return [...transfer.files].map((file) => [file, join(folder, file.name)]);
  for (const entry of entries) await walk(entry, folder);
  return found;
}

$("nd-tray-fold").addEventListener("click", () => {
  const list = $("nd-tray-list");
  list.hidden = !list.hidden;
  $("nd-tray-fold").setAttribute("aria-expanded", String(!list.hidden));
});
$("nd-tray-close").addEventListener("click", () => { $("nd-tray").hidden = true; });
addEventListener("beforeunload", (event) => {
  if (running || waiting.length) { event.preventDefault(); event.returnValue = word("leave"); }
});
