// Money's own ways: the total of a term while one chooses, going on to a payment page, codes that are shown once.

import { send } from "./api.js";
import { after, refuse } from "./forms.js";
import { copy } from "./frame.js";
import { amount, changed, money, prefix, say, word } from "./page.js";
import { writeTimes } from "./times.js";

function showTerm(form) {
  const option = form.elements.months.selectedOptions[0];
  const total = Number(option.dataset.micros);
  const left = Number(form.dataset.available) - total;
  form.querySelector("[data-term-total]").textContent = money(total);
  const balance = form.querySelector("[data-term-after]");
  balance.textContent = money(left, 2);
  balance.classList.toggle("red", left < 0);
  const end = form.querySelector("[data-term-ends] time");
  end.dateTime = option.dataset.ends;
  writeTimes(form);
}

document.addEventListener("change", (event) => {
  const form = event.target.closest("form[data-term]");
  if (form && event.target.name === "months") showTerm(form);
  if (event.target.matches("[data-go-to]") && event.target.value.startsWith(prefix)) location.assign(event.target.value);
  if (event.target.dataset.autoRenew) renewal(event.target);
});

document.addEventListener("htmx:load", (event) => {
  const form = event.target.closest?.("form[data-term]") ?? event.target.querySelector?.("form[data-term]");
  if (form?.elements.months) showTerm(form);
});

async function renewal(box) {
  box.disabled = true;
  const answer = await send("PATCH", `assets/${box.dataset.autoRenew}`, { auto_renew: box.checked });
  box.disabled = false;
  if (answer.ok) {
    say(word(box.checked ? "auto_renew_on" : "auto_renew_off"));
  } else {
    box.checked = !box.checked;
    refuse(answer.error);
  }
  changed();
}

// typing an amount chooses it
document.addEventListener("input", (event) => {
  const form = event.target.closest("#recharge");
  if (form && event.target.name === "amount") form.querySelector('[name="preset"][value="other"]').checked = true;
});

after.pay = (form, data) => {
  if (!data.pay_url) return false;
  // on a slow network the page stays for a while: who presses again would begin a second payment
  const button = form.querySelector("[type=submit]");
  button.disabled = true;
  addEventListener("pageshow", () => { button.disabled = false; }, { once: true });
  location.assign(data.pay_url);
  return true;
};

after.redeemed = (form, data) => {
  say(word("redeemed", { credit: amount(data.credit) }));
  form.reset();
  return true;
};

after.codes = (form, data) => {
  const place = document.getElementById("codes");
  const text = `${data.codes.join("\n")}\n`;
  document.getElementById("codes-text").value = text;
  const link = document.getElementById("codes-download");
  URL.revokeObjectURL(link.href);
  link.href = URL.createObjectURL(new Blob([text], { type: "text/plain" }));
  link.download = `vouchers-${data.id.slice(0, 8)}.txt`;
  place.hidden = false;
  place.scrollIntoView({ block: "nearest" });
  say(word("vouchers_made"));
  return false;
};

document.getElementById("codes-copy")?.addEventListener("click", () => copy(document.getElementById("codes-text").value.trim()));

document.addEventListener("click", (event) => {
  if (event.target.closest("[data-print]")) print();
  const toggle = event.target.closest("[data-toggle-next]");
  if (!toggle) return;
  const open = toggle.getAttribute("aria-expanded") !== "true";
  toggle.setAttribute("aria-expanded", String(open));
  toggle.closest("tr").nextElementSibling.hidden = !open;
});
