// The events window: docked at the bottom, resizable, live, with the advanced mode at its top right.

import { copy } from "./frame.js";
import { prefix, remembered, word } from "./page.js";

const MIN = 120;

export function eventsPanel() {
  const panel = document.getElementById("events-panel");
  const body = document.getElementById("events-body");
  const of = document.getElementById("events-of");
  const advanced = document.getElementById("events-advanced");
  const grip = document.getElementById("events-grip");
  const live = document.getElementById("events-live");
  let opener = null;
  let loading = false;
  let again = false;

  function height(value) {
    const most = Math.max(Math.round(innerHeight * 0.75), MIN);
    const pixels = Math.min(Math.max(Math.round(value), MIN), most);
    document.documentElement.style.setProperty("--events-height", `${pixels}px`);
    grip.setAttribute("aria-valuemin", MIN);
    grip.setAttribute("aria-valuemax", most);
    grip.setAttribute("aria-valuenow", pixels);
    remembered.set("events-height", pixels);
  }

  async function load() {
    if (panel.hidden) return;
    if (loading) { again = true; return; }
    loading = true;
    body.setAttribute("aria-busy", "true");
    const at = body.scrollTop;
    const query = new URLSearchParams({ name: of.value, advanced: String(advanced.checked) });
    await htmx.ajax("GET", `${prefix}/events?${query}`, { target: body, swap: "innerHTML", source: body });
    body.removeAttribute("aria-busy");
    body.scrollTop = at;
    loading = false;
    if (again) { again = false; load(); }
  }

  function open(name) {
    opener = document.activeElement;
    if (![...of.options].some((o) => o.value === name)) name = "";
    of.value = name;
    panel.hidden = false;
    document.body.classList.add("events-open");
    load();
    of.focus({ preventScroll: true });
  }

  function close() {
    panel.hidden = true;
    document.body.classList.remove("events-open");
    (opener?.isConnected ? opener : document.querySelector("[data-events]"))?.focus();
  }

  function drag(event) {
    event.preventDefault();
    grip.setPointerCapture(event.pointerId);
    const move = (e) => height(innerHeight - e.clientY);
    grip.addEventListener("pointermove", move);
    grip.addEventListener("pointerup", () => grip.removeEventListener("pointermove", move), { once: true });
  }

  height(Number(remembered.get("events-height")) || 280);
  advanced.checked = remembered.get("events-advanced") === "true";
  advanced.addEventListener("change", () => { remembered.set("events-advanced", advanced.checked); load(); });
  of.addEventListener("change", load);
  document.getElementById("events-close").addEventListener("click", close);
  document.getElementById("events-copy").addEventListener("click", () => copy(body.innerText.trim()));
  panel.addEventListener("keydown", (event) => { if (event.key === "Escape") close(); });
  grip.addEventListener("pointerdown", drag);
  grip.addEventListener("keydown", (event) => {
    const step = { ArrowUp: 24, ArrowDown: -24, PageUp: 120, PageDown: -120 }[event.key];
    if (!step) return;
    event.preventDefault();
    height(panel.getBoundingClientRect().height + step);
  });
  if (!panel.hidden) {
    document.body.classList.add("events-open");
    load();
  }
  return {
    open,
    refresh: load,
    live(on) {
      live.textContent = on ? word("live") : word("reconnecting");
      live.classList.toggle("lost", !on);
    },
  };
}
