// Forms and buttons that write. Errors stand at their field, what was typed stays, and a button sends once.

import { newRequestId, send } from "./api.js";
import { changed, say, word } from "./page.js";

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
      alert.textContent = error.message;
      alert.hidden = false;
      if (focus) alert.scrollIntoView({ block: "nearest" });
    } else {
      say(error.message, { alert: true });
    }
    return false;
  }
  place.textContent = error.message;
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

/** A date and time of the reader's zone (an input's value) → UTC text; "" when it is not complete. */
export function utcOf(local) {
  const at = new Date(local);
  return local && !Number.isNaN(at.getTime()) ? at.toISOString().replace(/\.\d+Z$/, "Z") : "";
}

/** UTC text → the value of a datetime-local input in the reader's zone. */
export function localOf(utc) {
  const at = new Date(utc);
  if (!utc || Number.isNaN(at.getTime())) return "";
  return new Date(at.getTime() - at.getTimezoneOffset() * 60000).toISOString().slice(0, 16);
}

const bodies = {
  confirm: (form) => ({ confirm: form.elements.confirm.value }),
  offer: (form) => ({ offer: form.elements.offer.value }),
  credit: (form) => ({ amount: form.elements.amount.value.trim(), reason: form.elements.reason.value.trim(), request_id: (form.dataset.requestId ??= newRequestId()) }),
  "auto-stop": (form) => {
    const at = utcOf(form.elements.auto_stop_at.value);
    const idle = form.elements.idle_on.checked ? wholeNumber(form.elements.idle_stop_minutes.value) : null;
    return { auto_stop: at ? { at } : null, idle_stop_minutes: idle };
  },
};

/** What was typed, as a number when it is one: the API says what is wrong with the rest. */
export function wholeNumber(text) {
  return /^-?\d{1,15}$/.test(text.trim()) ? Number(text.trim()) : text;
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
  say(word(off ? "auto_stop_off" : form.dataset.say, { name: form.dataset.name }));
  form.closest("dialog")?.close();
  document.dispatchEvent(new CustomEvent("ark:written", { detail: { path: form.dataset.path } }));
  changed();
}

async function sendButton(button) {
  const row = button.closest("[data-name]");
  const answer = await whileSending(button, () => send(button.dataset.send, button.dataset.path));
  if (!answer || answer.aborted) return;
  if (answer.ok) {
    say(word(button.dataset.say, { name: button.dataset.name ?? row?.dataset.title ?? "" }));
    if ("reload" in button.dataset) setTimeout(() => location.reload(), 1200);
  } else {
    say(answer.error.message, { alert: true });
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
