// SSH keys: what is pasted or chosen is looked at here first, so that a private key never leaves the browser; and the eye in the list.

import { send } from "./api.js";
import { bodies } from "./bodies.js";
import { after, clearErrors, refreshPart, showError } from "./forms.js";
import { say, word } from "./page.js";

const LARGEST_FILE = 40_000;
const PRIVATE = /PRIVATE KEY|PuTTY-User-Key-File|b3BlbnNzaC1rZXktdjE/i;

const form = document.getElementById("ssh-add");

bodies["ssh-key"] = (f) => {
  const name = f.elements.name.value.trim();
  return { public_key: f.elements.public_key.value, ...(name ? { name } : {}) };
};

after["ssh-key"] = (f, key) => {
  f.reset();
  say(word("ssh_key_added", { name: key.name }));
  refreshPart("#ssh-keys");
  return true;
};

/** True if it was a private key: it is taken out of the page at once. */
function refusePrivate(text) {
  if (!PRIVATE.test(text)) return false;
  form.elements.public_key.value = "";
  form.elements.file.value = "";
  clearErrors(form);
  showError(form, { field: "public_key", code: "private_key", message: form.dataset.private });
  return true;
}

form?.elements.file.addEventListener("change", async () => {
  const [file] = form.elements.file.files;
  if (!file) return;
  const text = await file.slice(0, LARGEST_FILE).text();
  if (!refusePrivate(text)) form.elements.public_key.value = text;
});

form?.addEventListener("submit", (event) => {
  if (!refusePrivate(form.elements.public_key.value)) return;
  event.preventDefault();
  event.stopPropagation();
}, { capture: true });

document.addEventListener("change", async (event) => {
  const box = event.target.closest("[data-start-on-connect]");
  if (!box) return;
  const answer = await send("PATCH", "ssh-settings", { start_on_connect: box.checked });
  if (answer.ok) say(word(box.checked ? "ssh_starts" : "ssh_starts_not"));
  else {
    box.checked = !box.checked;
    say(answer.error.message, { alert: true });
  }
});

document.addEventListener("click", (event) => {
  const eye = event.target.closest("[data-ssh-eye]");
  if (!eye) return;
  const text = eye.parentElement.querySelector("[data-ssh]");
  const shown = eye.getAttribute("aria-pressed") !== "true";
  text.dataset.stars ??= text.textContent;
  text.textContent = shown ? text.dataset.ssh : text.dataset.stars;
  eye.setAttribute("aria-pressed", String(shown));
  eye.firstElementChild.className = shown ? "bi bi-eye-slash" : "bi bi-eye";
});
