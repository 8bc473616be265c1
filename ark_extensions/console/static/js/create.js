// The create form: a quote that follows what is chosen, and one order however often the button is pressed.

import { newRequestId, send } from "./api.js";
import { budgetOf } from "./bodies.js";
import { computeOf, utcOf, wholeNumber } from "./fields.js";
import { clearErrors, showError, tell, whileSending } from "./forms.js";
import { amount, duration, prefix, remembered, word } from "./page.js";

const form = document.getElementById("create");
const requestId = newRequestId();

function chosen(name) {
  return [...form.querySelectorAll(`input[name="${name}"]:checked`)].map((box) => {
    const version = form.querySelector(`select[data-version-of="${CSS.escape(box.value)}"]`)?.value;
    return version ? `${box.value}@${version}` : box.value;
  });
}

class FieldProblem extends Error {
  constructor(field, message) {
    super(message);
    this.field = field;
  }
}

function autoStop() {
  const kind = form.elements.auto_stop_kind.value;
  if (kind === "after") {
    const hours = Number(form.elements.auto_stop_hours.value.replace(",", "."));
    if (!Number.isFinite(hours) || hours < 0.1) throw new FieldProblem("auto_stop", word("choose_hours"));
    return { after_minutes: Math.round(hours * 60) };
  }
  if (kind === "at") {
    const at = utcOf(form.elements.auto_stop_at.value);
    if (!at) throw new FieldProblem("auto_stop", word("choose_time"));
    return { at };
  }
  return null;
}

function order() {
  const body = {
    ...computeOf(form.elements.offer.value),
    image: form.elements.image.value,
    data_disk_gib: Number(form.elements.data_disk_gib.value),
    datasets: chosen("datasets"),
    models: chosen("models"),
    auto_stop: autoStop(),
    idle_stop_minutes: form.elements.idle_on.checked ? wholeNumber(form.elements.idle_stop_minutes.value) : null,
    budget: budgetOf(form),
  };
  const display = form.elements.display_name.value.trim();
  const name = form.elements.name.value.trim();
  if (display) body.display_name = display;
  if (name) body.name = name;
  return body;
}

function show(quote) {
  const put = (key, text) => { form.querySelector(`[data-quote="${key}"]`).textContent = text; };
  const nothing = (value) => Number(value.amount) === 0;
  const owned = form.elements.offer.value.startsWith("asset:");
  form.querySelector("[data-quote-asset]").hidden = !owned;
  form.querySelector("[data-quote-hourly]").hidden = owned;
  put("now", amount(quote.now));
  put("per_hour", amount(quote.per_hour));
  put("per_day_stopped", nothing(quote.per_day_stopped) ? word("no_cost") : amount(quote.per_day_stopped));
  put("runway", quote.runway_hours === null ? word("unlimited") : duration(Number(quote.runway_hours) * 3600));
}

let asking = null;
let timer = 0;
// an error that a quote put is cleared by the next good quote; one of the order itself stays until the next order
let fromQuote = false;

async function quoteNow() {
  asking?.abort();
  asking = new AbortController();
  const problem = form.querySelector("[data-quote-error]");
  let body;
  try {
    body = order();
  } catch {
    return; // still being typed: the field says so when it is left or sent
  }
  const answer = await send("POST", "quotes", body, { signal: asking.signal });
  if (answer.aborted) return;
  problem.hidden = answer.ok || Boolean(answer.error.field);
  if (answer.ok) {
    if (fromQuote) clearErrors(form);
    fromQuote = false;
    show(answer.data);
    return;
  }
  fromQuote = true;
  if (!showError(form, answer.error, { focus: false })) {
    tell(problem, answer.error);
    const alert = form.querySelector("[data-form-error]");
    if (alert) alert.hidden = true;
  }
}

function quoteSoon() {
  clearTimeout(timer);
  timer = setTimeout(quoteNow, 250);
}

async function submit(event) {
  event.preventDefault();
  clearTimeout(timer);
  asking?.abort();
  fromQuote = false;
  clearErrors(form);
  let body;
  try {
    body = order();
  } catch (problem) {
    if (!(problem instanceof FieldProblem)) throw problem;
    showError(form, { field: problem.field, message: problem.message });
    return;
  }
  const button = document.getElementById("create-button");
  const answer = await whileSending(button, () => send("POST", "workspaces", { request_id: requestId, ...body }));
  if (!answer || answer.aborted) return;
  if (!answer.ok) {
    showError(form, answer.error);
    return;
  }
  button.disabled = true;
  remembered.set("auto-stop", JSON.stringify({ kind: form.elements.auto_stop_kind.value, hours: form.elements.auto_stop_hours.value }));
  location.assign(`${prefix}/workspaces?new=${encodeURIComponent(answer.data.name)}`);
}

function restoreAutoStop() {
  try {
    const last = JSON.parse(remembered.get("auto-stop") ?? "{}");
    if (last.kind === "after" && Number(last.hours) > 0) {
      form.elements.auto_stop_kind.value = "after";
      form.elements.auto_stop_hours.value = last.hours;
    }
  } catch { /* nothing to restore */ }
}

function choosePart(event) {
  const input = event.target;
  // typing in a choice's own box chooses it
  if (input.name === "auto_stop_hours") form.elements.auto_stop_kind.value = "after";
  if (input.name === "auto_stop_at") form.elements.auto_stop_kind.value = "at";
  if (input.name === "idle_stop_minutes") form.elements.idle_on.checked = true;
  if (input.dataset.versionOf) form.querySelector(`input[value="${CSS.escape(input.dataset.versionOf)}"]`).checked = true;
  if (input.hasAttribute("data-pick-search")) search(input);
  else quoteSoon();
}

function search(input) {
  const list = input.closest("[data-picklist]");
  const wanted = input.value.trim().toLowerCase();
  let found = 0;
  for (const item of list.querySelectorAll(".pick")) {
    item.hidden = !item.dataset.text.toLowerCase().includes(wanted);
    found += item.hidden ? 0 : 1;
  }
  list.querySelector(".pick-none").hidden = found > 0;
}

if (form) {
  restoreAutoStop();
  const at = form.elements.auto_stop_at;
  at.min = new Date(Date.now() - new Date().getTimezoneOffset() * 60000).toISOString().slice(0, 16);
  form.addEventListener("input", choosePart);
  form.addEventListener("submit", submit);
  form.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && event.target.hasAttribute("data-pick-search")) event.preventDefault();
  });
  quoteNow();
}
