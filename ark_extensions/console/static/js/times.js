// Times in the reader's own zone and language, countdowns, and costs that grow as they are charged.

import { duration, locale, money, now, word } from "./page.js";

const clock = new Intl.DateTimeFormat(locale, { year: "numeric", month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const full = new Intl.DateTimeFormat(locale, { dateStyle: "full", timeStyle: "long" });
const relative = new Intl.RelativeTimeFormat(locale, { numeric: "always" });

function clockText(at) {
  const part = Object.fromEntries(clock.formatToParts(at).map((p) => [p.type, p.value]));
  return `${part.year}-${part.month}-${part.day} ${part.hour}:${part.minute}`;
}

function agoText(at) {
  const seconds = Math.round((at - now()) / 1000);
  for (const [unit, size] of [["day", 86400], ["hour", 3600], ["minute", 60]]) {
    if (Math.abs(seconds) >= size * 1.2) return relative.format(Math.round(seconds / size), unit);
  }
  return relative.format(Math.abs(seconds) < 60 ? seconds : Math.round(seconds / 60), Math.abs(seconds) < 60 ? "second" : "minute");
}

const forms = {
  clock: clockText,
  ago: agoText,
  left: (at) => (at <= now() ? word("due") : duration((at - now()) / 1000)),
};

function write(element) {
  const at = Date.parse(element.dateTime);
  if (Number.isNaN(at)) return;
  const text = forms[element.dataset.form]?.(at);
  if (text !== undefined && element.textContent !== text) element.textContent = text;
}

/** Times below `root`, once, with the exact moment on hover. */
export function writeTimes(root) {
  for (const element of root.querySelectorAll("time[data-form]")) {
    write(element);
    element.title = full.format(Date.parse(element.dateTime));
  }
}

function grow(element) {
  const hours = Math.max(now() - Date.parse(element.dataset.since), 0) / 3600000;
  const text = money(Number(element.dataset.cost) + Number(element.dataset.rate) * hours, 4);
  if (element.textContent !== text) element.textContent = text;
}

function tick() {
  if (document.hidden) return;
  document.querySelectorAll("[data-cost]").forEach(grow);
  document.querySelectorAll('time[data-form="left"], time[data-form="ago"]').forEach(write);
}

writeTimes(document);
tick();
setInterval(tick, 1000);
document.addEventListener("visibilitychange", tick);
document.addEventListener("htmx:load", (event) => { writeTimes(event.target); tick(); });
