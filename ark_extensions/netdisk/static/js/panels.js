// The panels over the list: preview, trash, unfinished uploads, and the command line with its tokens.

import { at, button, call, choose, complain, copyText, date, el, encodePath, foot, hide, once, say, show, shown, shows, size, user, webdav, word } from "./base.js";

const closing = () => button(word("close"), hide, "btn btn-sm btn-primary");

export async function preview(entry, path) {
  const address = encodePath(path);
  const save = el("a", { class: "btn btn-sm btn-outline-secondary", href: `${at}/api/v1/files/${address}`, download: "" }, word("download"));
  const answer = await call("GET", `preview/${address}`);
  if (!answer.ok) return complain(answer.error);
  const { preview: kind, text, truncated } = answer.data;
  let content = el("p", {}, word("no_preview"));
  if (kind === "image") content = el("img", { src: `${at}/api/v1/view/${address}`, alt: shown(entry.name) });
  // the frame may do nothing: no scripts, no forms, no origin
  else if (kind === "notebook") content = el("iframe", { sandbox: "", src: `${at}/api/v1/render/${address}`, title: shown(entry.name) });
  else if (kind === "text") content = el("pre", { tabindex: "0" }, text);
  const note = truncated && kind === "text" ? el("p", { class: "sub" }, word("truncated")) : "";
  show(shown(entry.name), content, note, foot(save, closing()));
}

export async function trash(changed) {
  const answer = await call("GET", "trash");
  if (!answer.ok) return complain(answer.error);
  const { items } = answer.data;
  const rows = items.map((item) => {
    const what = el("span", {}, shown(item.path), " ", el("span", { class: "sub num" }, `${size(item.size)} · ${word("until", { date: date(item.expires_at) })}`));
    const back = button(word("restore"), async () => {
      const done = await call("POST", "trash/restore", { ids: [item.id] });
      const failed = done.ok ? done.data.results.find((result) => result.error)?.error : done.error;
      if (failed) complain(failed);
      else say(word("restored", { path: shown(done.data.results[0].path) }));
      changed();
      if (shows()) await trash(changed);
    });
    const gone = button(word("delete_for_good"), async () => {
      const done = await call("DELETE", "trash", { ids: [item.id] });
      if (!done.ok) complain(done.error);
      changed();
      if (shows()) await trash(changed);
    }, "btn btn-sm btn-quiet");
    return el("div", { class: "nd-item" }, what, back, gone);
  });
  const empty = button(word("empty_trash"), async () => {
    hide();
    if ((await choose(word("confirm_empty"), [["no", word("cancel")], ["yes", word("empty_trash"), "btn btn-sm btn-danger"]])) !== "yes") return;
    const done = await call("DELETE", "trash", {});
    if (!done.ok) complain(done.error);
    changed();
  });
  show(word("trash"), ...(rows.length ? rows : [el("p", {}, word("trash_empty"))]), foot(...(rows.length ? [empty] : []), closing()));
}

export async function unfinished(changed) {
  const answer = await call("GET", "uploads");
  if (!answer.ok) return complain(answer.error);
  const rows = answer.data.items.map((item) => el("div", { class: "nd-item" },
    el("span", {}, shown(item.path), " ", el("span", { class: "sub num" }, `${size(item.offset)} / ${size(item.length)} · ${word("until", { date: date(item.expires_at) })}`))));
  const clean = button(word("clean"), async () => {
    const done = await call("DELETE", "uploads", {});
    if (!done.ok) return complain(done.error);
    say(word("cleaned"));
    hide();
    changed();
  }, "btn btn-sm btn-danger");
  show(word("unfinished_title"), el("p", {}, word("resume_hint")), ...rows, foot(clean, closing()));
}

export async function imports(into, begun) {
  const answer = await call("GET", "imports");
  if (!answer.ok) return complain(answer.error);
  const rows = answer.data.items.map((item) => {
    const newest = item.versions[0];
    const facts = [size(newest.size_bytes), word("files", { count: newest.file_count }), item.license].filter(Boolean).join(" · ");
    return el("div", { class: "nd-item" },
      el("span", {}, item.title, " ", el("span", { class: "sub num" }, facts), el("span", { class: "sub nd-about" }, item.description)),
      button(word("import"), async () => {
        const started = await call("POST", "imports", { kind: item.kind, name: item.name, into });
        if (!started.ok) return complain(started.error);
        hide();
        begun(started.data);
      }));
  });
  show(word("import_title"), el("p", {}, word("import_intro", { folder: shown(into) || word("home") })),
    ...(rows.length ? rows : [el("p", { class: "sub" }, word("import_none"))]), foot(closing()));
}

function line(text) {
  return el("div", { class: "nd-item" }, el("code", {}, text), button(word("copy"), () => copyText(text), "btn btn-sm btn-outline-secondary", "copy"));
}

export async function commandLine(made = null) {
  const tokens = await call("GET", "tokens");
  const name = el("input", { class: "form-control form-control-sm", id: "nd-token-name", maxlength: "60", required: true, value: "laptop" });
  const days = el("input", { class: "form-control form-control-sm", id: "nd-token-days", type: "number", min: "1", max: "366", value: "90", required: true });
  const form = el("form", { class: "nd-row" },
    el("span", {}, el("label", { for: "nd-token-name" }, word("cl_name")), name),
    el("span", {}, el("label", { for: "nd-token-days" }, word("cl_days")), days),
    el("button", { class: "btn btn-sm btn-primary" }, word("cl_create")));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    once(form, async () => {
      const answer = await call("POST", "tokens", { name: name.value, days: Number(days.value) });
      if (answer.ok) await commandLine(answer.data.token);
      else complain(answer.error);
    });
  });
  const lines = made ? [
    el("p", {}, word("cl_once")),
    line(`rclone config create ark webdav url=${webdav} vendor=owncloud user=${user} pass=${made} pacer_min_sleep=0 --obscure`),
    line("rclone copy ./folder ark:folder --progress --transfers 16"),
    el("p", {}, word("cl_mount")), line(webdav), line(made),
  ] : [el("p", {}, word("cl_make")), form];
  const list = (tokens.ok ? tokens.data.items : []).map((token) => el("div", { class: "nd-item" },
    el("span", {}, shown(token.name), " ", el("span", { class: "sub" }, [
      token.expires_at ? word("until", { date: date(token.expires_at) }) : "",
      token.used_at ? word("last_used", { date: date(token.used_at) }) : word("never_used")].filter(Boolean).join(" · "))),
    button(word("revoke"), async () => {
      const done = await call("DELETE", `tokens/${token.id}`);
      if (done.ok) say(word("revoked"));
      else complain(done.error);
      if (shows()) await commandLine();
    })));
  show(word("command_line"), el("p", {}, word("cl_intro")), ...lines, el("h2", { class: "section" }, word("cl_tokens")),
    ...(list.length ? list : [el("p", { class: "sub" }, tokens.ok ? word("cl_none") : tokens.error.message)]), foot(closing()));
}
