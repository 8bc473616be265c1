// Forms and buttons that write. Errors stand at their field, what was typed stays, and a button sends once.

import { send } from "./api.js";
import { bodies } from "./bodies.js";
import { changed, link, prefix, say, signInLink, word } from "./page.js";

/** Where a refusal can be mended, if there is such a place. */
const ways = {
  // an operator reads of somebody else's wallet
  insufficient_balance: () => (location.pathname.startsWith(`${prefix}/admin/`) ? "" : link(`${prefix}/recharge`, word("recharge"))),
  unauthenticated: signInLink,
};

/** Put a refusal into a place, with the way out where there is one. */
export function tell(place, error) {
  place.textContent = error.message;
  if (ways[error.code]) place.append(" ", ways[error.code]());
  place.hidden = false;
}

/** Say a refusal where no form stands for it. */
export const refuse = (error) => say(error.message, { alert: true, way: ways[error.code]?.() });

export function clearErrors(form) {
  form.querySelectorAll("[data-error-for]").forEach((e) => e.replaceChildren());
  form.querySelectorAll("[aria-invalid]").forEach((e) => e.removeAttribute("aria-invalid"));
  const alert = form.querySelector("[data-form-error]");
  if (alert) alert.hidden = true;
}

/** Put the error where it belongs and bring the eye (and the caret, if asked) there. True if it has a field here. */
export function showError(form, error, { focus = true } = {}) {
  const field = (error.field ?? "").split(".")[0];
  const place = field && form.querySelector(`[data-error-for="${CSS.escape(field)}"]`);
  if (!place) {
    const alert = form.querySelector("[data-form-error]");
    if (alert) {
      tell(alert, error);
      if (focus) alert.scrollIntoView({ block: "nearest" });
    } else {
      refuse(error);
    }
    return false;
  }
  tell(place, error);
  place.closest("details")?.setAttribute("open", "");
  const named = [...form.querySelectorAll(`[name="${CSS.escape(field)}"], [name^="${CSS.escape(field)}_"]`)];
  const control = named.find((c) => c.checked) ?? named[0];
  const input = named.find((c) => !["radio", "checkbox"].includes(c.type) && c.offsetParent) ?? control;
  input?.setAttribute("aria-invalid", "true");
  input?.setAttribute("aria-describedby", place.id);
  if (focus) {
    input?.focus({ preventScroll: true });
    place.scrollIntoView({ block: "center" });
  }
  return true;
}

/** Disable a button and say so while `work` runs. */
export async function whileSending(button, work) {
  if (button.disabled) return undefined;
  const label = button.textContent;
  button.disabled = true;
  button.setAttribute("aria-busy", "true");
  const timer = setTimeout(() => { button.dataset.busy = word("sending"); }, 300);
  try {
    return await work();
  } finally {
    clearTimeout(timer);
    delete button.dataset.busy;
    button.removeAttribute("aria-busy");
    button.disabled = false;
    if (button.textContent !== label && button.isConnected) button.textContent = label;
  }
}

/** What a form does once it was sent, by its data-then; a true answer: it has said and refreshed what there was. */
export const after = {};

/** Fetch a part of this page again, as it is now. */
export function refreshPart(selector) {
  const target = document.querySelector(selector);
  if (target) htmx.ajax("GET", location.pathname + location.search, { target, select: selector, swap: "outerHTML", source: document.body });
}

async function sendForm(form, button) {
  clearErrors(form);
  const answer = await whileSending(button, () => send(form.dataset.send, form.dataset.path, bodies[form.dataset.body]?.(form)));
  if (!answer || answer.aborted) return;
  if (!answer.ok) {
    showError(form, answer.error);
    return;
  }
  const off = form.dataset.body === "auto-stop" && !answer.data?.auto_stop_at && !form.elements.auto_stop_at.value;
  delete form.dataset.requestFor;
  form.closest("dialog")?.close();
  document.dispatchEvent(new CustomEvent("ark:written", { detail: { path: form.dataset.path } }));
  changed();
  const said = after[form.dataset.then]?.(form, answer.data);
  if (said) return;
  if (form.dataset.say) say(word(off ? "auto_stop_off" : form.dataset.say, { name: form.dataset.name }));
  if (form.dataset.go) location.assign(`${prefix}/${form.dataset.go}`);
  if (form.dataset.refresh) refreshPart(form.dataset.refresh);
}

async function sendButton(button) {
  const row = button.closest("[data-name]");
  const answer = await whileSending(button, () => send(button.dataset.send, button.dataset.path));
  if (!answer || answer.aborted) return;
  if (answer.ok) {
    if (button.dataset.say) say(word(button.dataset.say, { name: button.dataset.name ?? row?.dataset.title ?? "" }));
    if (button.dataset.refresh) refreshPart(button.dataset.refresh);
    if ("reload" in button.dataset) setTimeout(() => location.reload(), 1200);
  } else {
    refuse(answer.error);
  }
  document.dispatchEvent(new CustomEvent("ark:written", { detail: { path: button.dataset.path } }));
  changed();
}

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (!form.matches("form[data-send]")) return;
  event.preventDefault();
  sendForm(form, event.submitter ?? form.querySelector("[type=submit]"));
});

document.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-send]");
  if (button) sendButton(button);
});
