// What every script of the page needs: words, calls to the API, small pieces of DOM, and how a size is written.

const meta = (name) => document.querySelector(`meta[name="ark-${name}"]`)?.content ?? "";
const words = JSON.parse(document.getElementById("ark-words")?.textContent ?? "{}");

export const at = meta("netdisk");
export const user = meta("user");
export const webdav = meta("webdav");
export const trashDays = meta("trash-days");
export const locale = document.documentElement.lang;
export const $ = (id) => document.getElementById(id);

export function word(key, fields = {}) {
  return (words[key] ?? key).replace(/\{(\w+)\}/g, (whole, name) => fields[name] ?? whole);
}

/** Bytes in binary units, as the server writes them. */
export function size(count) {
  let value = count;
  for (const unit of ["B", "KiB", "MiB", "GiB"]) {
    if (value < 1024) return `${unit === "B" || value >= 100 ? Math.round(value) : value.toFixed(1)} ${unit}`;
    value /= 1024;
  }
  return `${value.toFixed(1)} TiB`;
}

const dates = new Intl.DateTimeFormat(locale, { dateStyle: "medium", timeStyle: "short" });
export const date = (iso) => dates.format(new Date(iso));

/** A path for an address, byte by byte: bytes that are no UTF-8 are lone surrogates here. */
export function encodePath(path) {
  let out = "";
  for (const char of path) {
    const code = char.codePointAt(0);
    if (char === "/") out += "/";
    else if (code >= 0xdc80 && code <= 0xdcff) out += `%${(code - 0xdc00).toString(16).toUpperCase()}`;
    else out += encodeURIComponent(char);
  }
  return out;
}
export const query = (path) => encodePath(path).replaceAll("/", "%2F");
export const shown = (path) => path.replace(/[\udc80-\udcff]/g, "�");
export const join = (folder, name) => (folder && name ? `${folder}/${name}` : folder || name);
export const folderOf = (path) => path.slice(0, Math.max(0, path.lastIndexOf("/")));
export const nameOf = (path) => path.slice(path.lastIndexOf("/") + 1);

export const headers = () => ({ Accept: "application/json", "Accept-Language": locale, "X-XSRFToken": meta("xsrf") });

/** → {ok, status, data, error}. Never throws; `status` 0: no answer came. */
export async function call(method, path, body) {
  let said = null;
  const slow = method === "GET" ? 0 : setTimeout(() => { said = say(word("sending")); }, 300);
  const answer = await fetchAnswer(method, path, body);
  clearTimeout(slow);
  said?.remove();
  return answer;
}

async function fetchAnswer(method, path, body) {
  let response;
  try {
    response = await fetch(`${at}/api/v1/${path}`, {
      method,
      credentials: "same-origin",
      headers: { ...headers(), ...(body === undefined ? {} : { "Content-Type": "application/json" }) },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch {
    return { ok: false, status: 0, error: { code: "offline", message: word("offline") } };
  }
  const data = response.status === 204 ? null : await response.json().catch(() => null);
  if (response.ok) return { ok: true, status: response.status, data };
  return { ok: false, status: response.status, data, error: data?.error ?? { code: "no_answer", message: word("offline") } };
}

export function say(text, { alert = false, way = null } = {}) {
  const box = $(alert ? "alerts" : "toasts");
  const close = button("", () => item.remove(), "btn-close");
  close.setAttribute("aria-label", word("close"));
  const item = el("div", { class: alert ? "ark-toast ark-toast-alert" : "ark-toast" }, el("span", {}, text, way ? " " : null, way), close);
  box.replaceChildren(item);
  if (!alert) setTimeout(() => item.remove(), 6000);
  return item;
}

/** Say what is wrong; a session that is over does not take the page away: the reader goes to sign in when they like, and comes back here. */
export function complain(error) {
  if (error.code !== "unauthenticated") return say(error.message, { alert: true });
  const way = el("a", { href: location.href }, word("sign_in"));
  way.addEventListener("click", (event) => { event.preventDefault(); location.reload(); });
  return say(word("session_ended"), { alert: true, way });
}

/** An element with attributes and children; text is always text. */
export function el(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === false || value === undefined || value === null) continue;
    made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}
export const icon = (name) => el("i", { class: `bi bi-${name}`, "aria-hidden": "true" });

/** Do it once: what comes from the same place while it is being done is not done again. */
export async function once(place, act) {
  if (place.ariaBusy) return;
  place.ariaBusy = "true";
  try {
    await act();
  } finally {
    place.ariaBusy = null;
  }
}

export function button(text, act, look = "btn btn-sm btn-outline-secondary", iconName) {
  const made = el("button", { type: "button", class: look }, iconName ? icon(iconName) : null, iconName && text ? " " : null, text);
  made.addEventListener("click", () => once(made, act));
  return made;
}

const dialog = $("nd-dialog");

/** Fill the dialog and show it. */
export function show(title, ...content) {
  dialog.replaceChildren(el("h2", { id: "nd-dialog-title" }, title), ...content);
  if (!dialog.open) dialog.showModal();
  return dialog;
}
export const shows = () => dialog.open;
export const hide = () => dialog.open && dialog.close();
export const foot = (...buttons) => el("div", { class: "nd-foot" }, ...buttons);

/** Ask for one line. → the text, or null. */
export function ask(title, label, value = "", { required = true } = {}) {
  return new Promise((answer) => {
    const input = el("input", { class: "form-control", value, id: "nd-asked", maxlength: "1000", required, autocomplete: "off" });
    const form = el("form", {}, el("label", { for: "nd-asked" }, label), input,
      foot(button(word("cancel"), () => hide()), el("button", { class: "btn btn-sm btn-primary" }, word("ok"))));
    let said = null;
    form.addEventListener("submit", (event) => { event.preventDefault(); said = input.value; hide(); });
    show(title, form).addEventListener("close", () => answer(said), { once: true });
    input.focus();
    const dot = value.lastIndexOf(".");
    input.setSelectionRange(0, dot > 0 ? dot : value.length);
  });
}

/** Ask a question with some answers. → the answer's key, or null; with a box, {key, all}. */
export function choose(title, answers, { box } = {}) {
  return new Promise((answer) => {
    let said = null;
    const all = box ? el("input", { type: "checkbox", class: "form-check-input", id: "nd-for-all" }) : null;
    const buttons = answers.map(([key, text, look]) => button(text, () => { said = key; hide(); }, look));
    const boxed = box ? el("label", { for: "nd-for-all" }, all, ` ${box}`) : null;
    show(title, boxed ?? "", foot(...buttons)).addEventListener("close", () => answer(box ? { key: said, all: all.checked } : said), { once: true });
    buttons.at(-1).focus();
  });
}

export async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
    say(word("copied"));
  } catch {
    say(word("copy_failed"), { alert: true });
  }
}
