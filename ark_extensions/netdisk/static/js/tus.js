// One file to the service, in parts that survive a closed tab, a lost network and a restarted server (tus 1.0), or in one
// request when it is small. The browser remembers where an upload is, so that choosing the file again goes on there.

import { at, encodePath, folderOf, headers, join, nameOf } from "./base.js";

const SMALL = 16 * 1024 * 1024;
const PART = 64 * 1024 * 1024;
const PAUSES = [500, 1000, 2000, 4000, 8000, 15000, 30000];

export class Refused extends Error {
  constructor(error, status) {
    super(error?.message ?? "");
    this.code = error?.code ?? "";
    this.status = status;
  }
}

const key = (file, path) => `ark:tus:${path}:${file.size}:${file.lastModified}`;
const remember = (name, value) => { try { value === null ? localStorage.removeItem(name) : localStorage.setItem(name, value); } catch { /* private window */ } };
const remembered = (name) => { try { return localStorage.getItem(name); } catch { return null; } };

function base64(text) {
  return btoa(Array.from(new TextEncoder().encode(text), (byte) => String.fromCharCode(byte)).join(""));
}

/** One request with progress. → {status, header(name), data}; rejects with null when no answer comes, "aborted" when stopped. */
function send(job, method, address, body, extra, progress) {
  return new Promise((resolve, reject) => {
    const request = (job.request = new XMLHttpRequest());
    request.open(method, address);
    for (const [name, value] of Object.entries({ ...headers(), ...extra })) request.setRequestHeader(name, value);
    if (progress) request.upload.addEventListener("progress", (event) => progress(event.loaded));
    request.addEventListener("load", () => {
      let data = null;
      try { data = JSON.parse(request.responseText); } catch { /* no body */ }
      resolve({ status: request.status, header: (name) => request.getResponseHeader(name), data });
    });
    request.addEventListener("error", () => reject(null));
    request.addEventListener("abort", () => reject("aborted"));
    request.send(body);
  });
}

/** `path`, `file`, `conflict`; `changed()` is called when `sent` or `note` change. */
export class Upload {
  constructor(file, path, conflict, changed) {
    Object.assign(this, { file, path, conflict, changed, sent: 0, paused: false, note: "", request: null, placed: path });
  }

  pause() {
    this.paused = true;
    this.request?.abort();
    this.wake?.();
  }

  async forget() {
    this.pause();
    const address = remembered(key(this.file, this.path));
    remember(key(this.file, this.path), null);
    if (address) await fetch(address, { method: "DELETE", credentials: "same-origin", headers: { ...headers(), "Tus-Resumable": "1.0.0" } }).catch(() => null);
  }

  /** Until it is there (→ its path), paused (→ null) or refused (throws Refused). Lost connections are tried again for ever. */
  async run() {
    this.paused = false;
    for (let lost = 0; ; lost++) {
      const before = this.sent;
      try {
        return this.file.size < SMALL ? await this.whole() : await this.parts();
      } catch (reason) {
        if (this.paused || reason === "aborted") return null;
        if (reason instanceof Refused && reason.status < 500 && reason.status !== 423) throw reason;
        if (reason instanceof Refused && reason.status === 507) throw reason;
        if (this.sent > before) lost = 0;
        this.note = "connection_lost";
        this.changed();
        await new Promise((resolve) => { this.wake = resolve; setTimeout(resolve, PAUSES[Math.min(lost, PAUSES.length - 1)]); });
        this.note = "";
        if (this.paused) return null;
      }
    }
  }

  async whole() {
    const address = `${at}/api/v1/files/${encodePath(this.path)}?on_conflict=${this.conflict}`;
    const answer = await send(this, "PUT", address, this.file, { "X-OC-Mtime": String(this.file.lastModified / 1000) }, (loaded) => this.progress(loaded));
    if (answer.status >= 300) throw new Refused(answer.data?.error, answer.status);
    return answer.data.path;
  }

  async parts() {
    let address = remembered(key(this.file, this.path));
    let offset = address ? await this.offset(address) : null;
    if (offset === null) [address, offset] = [await this.create(), 0];
    while (offset < this.file.size) {
      const part = this.file.slice(offset, offset + PART);
      const from = offset;
      const extra = { "Tus-Resumable": "1.0.0", "Upload-Offset": String(offset), "Content-Type": "application/offset+octet-stream" };
      const answer = await send(this, "PATCH", address, part, extra, (loaded) => this.progress(from + loaded));
      if (answer.status === 409 && answer.data?.error?.code === "offset") offset = await this.offset(address);
      else if (answer.status >= 300) {
        if (answer.status === 404 || answer.status === 460) remember(key(this.file, this.path), null);
        throw new Refused(answer.data?.error, answer.status);
      } else offset = this.answered(answer);
      this.progress(offset);
    }
    remember(key(this.file, this.path), null);
    return this.placed;
  }

  /** → the byte where the service is; with the last one it says the name that the file got, which may be another than was asked for. */
  answered(answer) {
    const placed = answer.header("Ark-Path");
    if (placed) this.placed = join(folderOf(this.path), decodeURIComponent(nameOf(placed)));
    return Number(answer.header("Upload-Offset"));
  }

  async create() {
    const said = { path: this.path, last_modified: String(this.file.lastModified), on_conflict: this.conflict };
    const metadata = Object.entries(said).map(([name, value]) => `${name} ${base64(value)}`).join(",");
    const extra = { "Tus-Resumable": "1.0.0", "Upload-Length": String(this.file.size), "Upload-Metadata": metadata };
    const answer = await send(this, "POST", `${at}/tus/`, null, extra);
    if (answer.status !== 201) throw new Refused(answer.data?.error, answer.status);
    remember(key(this.file, this.path), answer.header("Location"));
    return answer.header("Location");
  }

  /** Where the service is; null when it does not know the upload. */
  async offset(address) {
    const answer = await send(this, "HEAD", address, null, { "Tus-Resumable": "1.0.0" });
    if (answer.status === 404) return null;
    if (answer.status >= 300) throw new Refused(null, answer.status);
    const there = this.answered(answer);
    this.progress(there);
    return there;
  }

  progress(sent) {
    this.sent = sent;
    this.changed();
  }
}
