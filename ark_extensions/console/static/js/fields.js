// What people type, as the API takes it: times of their own zone, whole numbers, amounts.

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

/** What was typed, as a number when it is one: the API says what is wrong with the rest. */
export function wholeNumber(text) {
  return /^-?\d{1,15}$/.test(text.trim()) ? Number(text.trim()) : text;
}

/** An amount as text; null when the box is empty. */
export const amountOf = (text) => text.trim() || null;

/** The choice of compute: an offer, or (`asset:ID`) monthly compute that one has. */
export function computeOf(value) {
  return value.startsWith("asset:") ? { asset: value.slice("asset:".length) } : { offer: value };
}
