// The frame: drawer, dialogs, copy buttons, and htmx's requests carrying the XSRF token.

import { locale, say, sessionEnded, word, xsrf } from "./page.js";

const toggle = document.getElementById("nav-toggle");
const navigation = document.getElementById("navigation");
const scrim = document.getElementById("scrim");
const dialog = document.getElementById("dialog");

function drawer(open) {
  document.body.classList.toggle("drawer-open", open);
  toggle.setAttribute("aria-expanded", String(open));
  scrim.hidden = !open;
  if (open) navigation.querySelector("a")?.focus();
  else toggle.focus();
}

toggle?.addEventListener("click", () => drawer(!document.body.classList.contains("drawer-open")));
scrim?.addEventListener("click", () => drawer(false));
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && document.body.classList.contains("drawer-open")) drawer(false);
});

document.addEventListener("htmx:configRequest", (event) => {
  event.detail.headers["X-XSRFToken"] = xsrf();
  event.detail.headers["Accept-Language"] = locale;
  if (event.target.matches?.("[data-drop-empty]")) {
    for (const [key, value] of [...event.detail.formData.entries()]) if (value === "") event.detail.formData.delete(key);
  }
});

// a session that is over must not take away the page in which somebody types: the reader goes to sign in when they like
document.addEventListener("htmx:beforeOnLoad", (event) => {
  if (event.detail.xhr.status !== 401) return;
  event.preventDefault();
  sessionEnded();
});

// a dialog that is slow to come says that it is on its way; who closes it meanwhile does not get it
let opening = 0;
let unwanted = false;
document.addEventListener("htmx:beforeRequest", (event) => {
  if (event.detail.target.id !== "dialog-body" || dialog.open) return;
  clearTimeout(opening);
  unwanted = false;
  opening = setTimeout(() => {
    const wait = document.createElement("p");
    wait.id = "dialog-title";
    wait.className = "waiting";
    wait.textContent = word("loading");
    event.detail.target.replaceChildren(wait);
    dialog.showModal();
  }, 300);
});
document.addEventListener("htmx:afterRequest", (event) => {
  if (event.detail.target.id !== "dialog-body") return;
  clearTimeout(opening);
  if (dialog.querySelector(".waiting")) dialog.close();
});

// a part that cannot be had says so: where it would have stood, or as an alert
document.addEventListener("htmx:beforeSwap", (event) => {
  if (event.detail.target.id === "dialog-body") event.detail.shouldSwap = !unwanted;
});
document.addEventListener("htmx:sendError", (event) => {
  if (!event.target.closest?.("[hx-trigger^=every]")) say(word("offline"), { alert: true });
});

document.addEventListener("htmx:afterSwap", (event) => {
  if (event.detail.target.id !== "dialog-body") return;
  clearTimeout(opening);
  document.querySelectorAll(".dropdown-menu.show").forEach((m) => m.classList.remove("show"));
  if (!dialog.open) dialog.showModal();
  (dialog.querySelector("[autofocus]") ?? dialog.querySelector("button[type=submit]"))?.focus();
});

dialog?.addEventListener("click", (event) => {
  if (event.target === dialog || event.target.closest("[data-close]")) dialog.close();
});
dialog?.addEventListener("close", () => {
  unwanted = dialog.querySelector(".waiting") !== null;
  document.getElementById("dialog-body").replaceChildren();
});

export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    say(word("copied"));
  } catch {
    say(word("copy_failed"), { alert: true });
  }
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-copy]");
  if (button) copy(button.dataset.copy);
});
