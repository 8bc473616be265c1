// What each form sends, by its data-body: the values of its inputs as the API's body.

import { newRequestId } from "./api.js";
import { amountOf, computeOf, utcOf, wholeNumber } from "./fields.js";

const text = (form, name) => form.elements[name].value.trim();

/** The same body sent again has the same id, so that it is done once; another body is another request. */
function once(form, body) {
  const key = JSON.stringify(body);
  if (form.dataset.requestFor !== key) {
    form.dataset.requestFor = key;
    form.dataset.requestId = newRequestId();
  }
  return { ...body, request_id: form.dataset.requestId };
}

function autoStop(form) {
  const at = utcOf(form.elements.auto_stop_at.value);
  const idle = form.elements.idle_on.checked ? wholeNumber(form.elements.idle_stop_minutes.value) : null;
  return { auto_stop: at ? { at } : null, idle_stop_minutes: idle };
}

/** Both limits of a budget; null: none. */
export function budgetOf(form) {
  const [run, total] = [amountOf(form.elements.budget_run.value), amountOf(form.elements.budget_total.value)];
  return run === null && total === null ? null : { run, total };
}

function recharged(form) {
  const preset = form.elements.preset.value;
  return preset === "other" ? text(form, "amount") : preset;
}

function vouchers(form) {
  const days = text(form, "credit_days");
  return once(form, {
    amount: text(form, "amount"),
    count: wholeNumber(text(form, "count")),
    expires_at: utcOf(form.elements.expires_at.value),
    credit_days: days ? wholeNumber(days) : null,
    reason: text(form, "reason"),
  });
}

export const bodies = {
  confirm: (form) => ({ confirm: form.elements.confirm.value }),
  compute: (form) => computeOf(form.elements.offer.value),
  "auto-stop": autoStop,
  budget: (form) => ({ budget: budgetOf(form) }),
  disk: (form) => ({ data_disk_gib: Number(form.elements.data_disk_gib.value) }),
  buy: (form) => once(form, { offer: text(form, "offer"), months: Number(form.elements.months.value), auto_renew: form.elements.auto_renew.checked }),
  renew: (form) => once(form, { months: Number(form.elements.months.value) }),
  recharge: (form) => once(form, { provider: form.elements.provider.value, amount: recharged(form) }),
  voucher: (form) => ({ code: text(form, "code") }),
  act: (form) => once(form, { amount: text(form, "amount"), reason: text(form, "reason") }),
  credit: (form) => once(form, { amount: text(form, "amount"), expires_at: utcOf(form.elements.expires_at.value) || null, reason: text(form, "reason") }),
  account: (form) => ({ email: text(form, "email") || null, mailed: form.elements.mailed.value }),
  refund: (form) => once(form, { subject: text(form, "subject"), amount: text(form, "amount"), reason: text(form, "reason") }),
  freeze: (form) => ({ frozen: true, reason: text(form, "reason") }),
  free: (form) => ({ frozen: false, reason: text(form, "reason") }),
  reason: (form) => ({ reason: text(form, "reason") }),
  vouchers,
  price: (form) => ({ subject: text(form, "subject"), price: text(form, "price"), valid_from: utcOf(form.elements.valid_from.value) || null, reason: text(form, "reason") }),
};
