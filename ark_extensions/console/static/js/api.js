// The one way in which pages write: JSON to the API, with the XSRF token, and answers that never throw.

import { locale, prefix, sessionEnded, word, xsrf } from "./page.js";

/** An id for one order: the same id sent twice is one order. */
export function newRequestId() {
  return crypto.randomUUID?.() ?? Array.from(crypto.getRandomValues(new Uint8Array(16)), (b) => b.toString(16).padStart(2, "0")).join("");
}

/** → {ok, status, data, error: {code, message, field}}; `status` 0: no answer came. */
export async function send(method, path, body, { signal } = {}) {
  let response;
  try {
    response = await fetch(`${prefix}/api/v1/${path}`, {
      method,
      signal,
      credentials: "same-origin",
      headers: {
        Accept: "application/json",
        "Accept-Language": locale,
        "X-XSRFToken": xsrf(),
        ...(body === undefined ? {} : { "Content-Type": "application/json" }),
      },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch (cause) {
    if (cause.name === "AbortError") return { ok: false, aborted: true, status: 0 };
    return { ok: false, status: 0, error: { code: "offline", message: word("offline"), field: null } };
  }
  let data = null;
  try {
    data = response.status === 204 ? null : await response.json();
  } catch {
    data = null;
  }
  if (response.ok) return { ok: true, status: response.status, data };
  if (response.status === 401) {
    sessionEnded();
    return { ok: false, status: 401, error: { code: "unauthenticated", message: word("session_ended"), field: null } };
  }
  return { ok: false, status: response.status, data, error: data?.error ?? { code: "no_answer", message: word("offline"), field: null } };
}
