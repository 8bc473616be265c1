// What every script needs: the page's words, numbers as people read them, and one way to say something.

const meta = (name) => document.querySelector(`meta[name="ark-${name}"]`)?.content ?? "";

export const prefix = meta("prefix");
export const xsrf = () => meta("xsrf");
export const language = document.documentElement.lang.startsWith("zh") ? "zh" : "en";
export const locale = document.documentElement.lang;

const words = JSON.parse(document.getElementById("ark-words")?.textContent ?? "{}");

/** The sentence of that key, its {fields} filled. */
export function word(key, fields = {}) {
  return (words[key] ?? key).replace(/\{(\w+)\}/g, (whole, name) => fields[name] ?? whole);
}

// the server's clock counts: a wrong clock here must not show a wrong countdown
const skew = Date.parse(meta("now")) - Date.now();
export const now = () => Date.now() + (Number.isFinite(skew) ? skew : 0);

const symbol = meta("money").replace(/[\d.]+$/, "");

/** Micros as money: cut (never rounded up) to `places`, or exact with two to six decimals. */
export function money(micros, places) {
  const sign = micros < 0 ? "−" : "";
  let digits = String(Math.trunc(Math.abs(micros))).padStart(7, "0");
  const whole = digits.slice(0, -6);
  const rest = digits.slice(-6);
  const decimals = places === undefined ? rest.replace(/0+$/, "").padEnd(2, "0") : rest.slice(0, places);
  return `${sign}${symbol}${whole}.${decimals}`;
}

/** `{"amount": "3.20", "currency": …}` as money. */
export function amount(value) {
  const [whole, rest = ""] = String(value.amount).replace("-", "").split(".");
  return `${String(value.amount).startsWith("-") ? "−" : ""}${symbol}${whole}.${rest.replace(/0+$/, "").padEnd(2, "0")}`;
}

/** Seconds in at most two units, cut down; the server writes spans by the same rules (i18n.duration). */
export function duration(seconds) {
  seconds = Math.max(Math.floor(seconds), 0);
  const days = Math.floor(seconds / 86400);
  const hours = Math.floor(seconds / 3600);
  const minutes = Math.floor(seconds / 60);
  if (days >= 3650) return word("over_10_years");
  if (days >= 30) return word("days", { days });
  if (days >= 3) return word("days_hours", { days, hours: hours % 24 });
  if (hours >= 10) return word("hours", { hours });
  if (hours >= 1) return word("hours_minutes", { hours, minutes: minutes % 60 });
  if (minutes >= 1) return word("minutes", { minutes });
  return word("seconds", { seconds });
}

/** Say it in words, for eyes and for screen readers; it goes by itself, an alert stays until it is closed. */
export function say(text, { alert = false, way = null, stays = false } = {}) {
  const box = document.getElementById(alert ? "alerts" : "toasts");
  if (box.querySelector("[data-stays]")) return;
  const item = document.createElement("div");
  item.className = alert ? "ark-toast ark-toast-alert" : "ark-toast";
  const body = document.createElement("span");
  body.textContent = text;
  const close = document.createElement("button");
  close.type = "button";
  close.className = "btn-close";
  close.setAttribute("aria-label", word("close"));
  close.addEventListener("click", () => item.remove());
  if (way) body.append(" ", way);
  if (stays) item.dataset.stays = "";
  item.append(body, close);
  box.replaceChildren(item);
  if (!alert) setTimeout(() => item.remove(), 6000);
}

export function link(address, text) {
  const made = document.createElement("a");
  made.href = address;
  made.textContent = text;
  return made;
}

/** To the sign-in, and from there back to this page. */
export const signInLink = () => link(location.pathname + location.search, word("sign_in"));

/** Say that the session is over. The page stays: what was typed can still be copied. */
export const sessionEnded = () => say(word("session_ended"), { alert: true, way: signInLink(), stays: true });

/** A remembered small choice of this browser. */
export const remembered = {
  get(key) {
    try { return localStorage.getItem(`ark:${key}`); } catch { return null; }
  },
  set(key, value) {
    try { localStorage.setItem(`ark:${key}`, value); } catch { /* private window: not remembered */ }
  },
};

/** Tell the frame that money or state may have changed. */
export const changed = () => document.body.dispatchEvent(new Event("ark:changed"));
