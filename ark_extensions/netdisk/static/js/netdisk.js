// The list: folders, sorting, selection, search, and what can be done with files.

import { $, ask, at, button, call, choose, complain, date, el, encodePath, folderOf, icon, join, nameOf, query, say, shown, size, trashDays, word } from "./base.js";
import { commandLine, imports, preview, trash, unfinished } from "./panels.js";
import { dropped, enqueue, follow, onFinished } from "./tray.js";

const PAGE = 200;
const state = { path: "", sort: "name", order: "asc", next: null, found: null, loading: 0, selected: new Map() };
const rows = $("nd-rows");

const here = () => decodeURIComponent(location.hash.slice(1).replace(/%(?![0-9a-f]{2})/gi, "%25"));
const ICONS = { folder: "folder-fill", file: "file-earmark", link: "link-45deg", other: "question-square" };

async function load(more = false) {
  const turn = ++state.loading;
  const words = [`path=${query(state.path)}`, `sort=${state.sort}`, `order=${state.order}`, `limit=${PAGE}`];
  if (more && state.next) words.push(`cursor=${encodeURIComponent(state.next)}`);
  const slow = setTimeout(() => { $("nd-table").ariaBusy = "true"; }, 300);
  const answer = await call("GET", state.found ? `search?path=${query(state.path)}&q=${encodeURIComponent(state.found)}` : `list?${words.join("&")}`);
  clearTimeout(slow);
  if (turn !== state.loading) return;
  $("nd-table").ariaBusy = null;
  if (!answer.ok) {
    if (answer.status === 404 && state.path) { location.hash = ""; return; }
    complain(answer.error);
    return;
  }
  state.next = answer.data.next ?? null;
  if (!more) { rows.replaceChildren(); select([]); }
  rows.append(...answer.data.items.map(row));
  const empty = !rows.children.length;
  $("nd-note").textContent = state.found
    ? (empty ? word("nothing_found") : answer.data.complete ? "" : word("search_cut"))
    : empty ? word("nothing_here") : word("items", { count: answer.data.total });
  crumbs();
}

function row(entry) {
  const path = entry.path ?? join(state.path, entry.name);
  const box = el("input", { type: "checkbox", class: "form-check-input", "aria-label": word("select", { name: shown(entry.name) }) });
  const open = entry.kind === "folder"
    ? el("a", { href: `#${encodePath(path)}` }, shown(state.found ? path : entry.name))
    : entry.kind === "file" ? button(shown(state.found ? path : entry.name), () => preview(entry, path), "") : el("span", { class: "sub" }, shown(entry.name));
  const made = el("tr", {},
    el("td", { class: "nd-check" }, box),
    el("td", {}, el("span", { class: "nd-name" }, icon(ICONS[entry.kind]), open)),
    el("td", { class: "nd-size num" }, entry.kind === "file" ? size(entry.size) : ""),
    el("td", { class: "nd-time num" }, date(entry.modified)),
    el("td", { class: "nd-more" }, menu(entry, path)));
  box.addEventListener("change", () => {
    if (box.checked) state.selected.set(path, entry);
    else state.selected.delete(path);
    made.classList.toggle("nd-on", box.checked);
    count();
  });
  made.dataset.path = path;
  return made;
}

function menu(entry, path) {
  const toggle = button("", () => {}, "btn btn-xs btn-quiet", "three-dots");
  toggle.dataset.bsToggle = "dropdown";
  toggle.setAttribute("aria-label", word("actions", { name: shown(entry.name) }));
  const list = el("div", { class: "dropdown-menu dropdown-menu-end" });
  const add = (name, act) => list.append(button(word(name), act, "dropdown-item"));
  // made when it is first opened: a list of thousands has thousands of menus
  toggle.addEventListener("click", () => {
    if (list.children.length) return;
    if (entry.kind === "file") {
      add("preview", () => preview(entry, path));
      add("download", () => { location.href = `${at}/api/v1/files/${encodePath(path)}`; });
    }
    if (entry.kind === "folder") add("download_zip", () => zip([path]));
    add("rename", () => rename(path));
    add("move", () => transfer("moves", [path]));
    add("copy", () => transfer("copies", [path]));
    add("delete", () => throwAway([path]));
  }, { capture: true });
  return el("div", { class: "dropdown" }, toggle, list);
}

function crumbs() {
  const parts = state.path ? state.path.split("/") : [];
  const links = [el("li", {}, el("a", { href: "#" }, word("home")))];
  parts.forEach((part, index) => links.push(el("li", {}, el("a", { href: `#${encodePath(parts.slice(0, index + 1).join("/"))}`, "aria-current": index === parts.length - 1 ? "page" : null }, shown(part)))));
  $("nd-crumbs").replaceChildren(...links);
}

function select(paths) {
  state.selected = new Map(paths);
  $("nd-all").checked = false;
  count();
}

function count() {
  $("nd-selection").hidden = state.selected.size === 0;
  $("nd-count").textContent = word("selected", { count: state.selected.size });
}

async function usage() {
  const answer = await call("GET", "usage");
  if (!answer.ok) return;
  const u = answer.data;
  // the whole bar is the free part, until more than that is used: then the mark shows where the free part ends
  const whole = Math.max(u.free_quota_bytes, u.used_bytes, 1);
  $("nd-bar").value = u.used_bytes / whole;
  $("nd-bar").classList.toggle("nd-beyond", u.billable_bytes > 0);
  $("nd-bar").title = word("free_part", { free: size(u.free_quota_bytes) });
  const texts = [word("used", { used: size(u.used_bytes), limit: size(u.limit_bytes) }), word("free_part", { free: size(u.free_quota_bytes) })];
  if (u.billable_bytes) texts.push(word("billable", { size: size(u.billable_bytes) }));
  if (u.price) texts.push(word(`price_${u.charged_on}`, { price: u.price.text }));
  if (u.trash_bytes) texts.push(word("in_trash", { size: size(u.trash_bytes) }));
  $("nd-used").textContent = texts.join(" · ");
  $("nd-over").hidden = !u.over_limit;
  $("nd-usage").querySelector("button")?.remove();
  if (u.unfinished_uploads) {
    $("nd-usage").append(button(word("unfinished", { count: u.unfinished_uploads, size: size(u.unfinished_bytes) }), () => unfinished(refresh), "btn btn-xs btn-quiet"));
  }
}

function refresh() {
  load();
  usage();
}

function zip(paths) {
  location.href = `${at}/api/v1/zip?${paths.map((path) => `path=${query(path)}`).join("&")}`;
}

async function rename(path) {
  const name = await ask(word("rename"), word("new_name"), nameOf(path));
  if (!name || name === nameOf(path)) return;
  await settle((on_conflict) => call("POST", "moves", { items: [path], to: join(folderOf(path), name), on_conflict }), name);
}

async function transfer(verb, paths) {
  const into = await ask(word(verb === "moves" ? "move" : "copy"), word("target_folder"), state.path, { required: false });
  if (into === null) return;
  if (verb === "copies") {
    const answer = await call("POST", "copies", { items: paths, into, on_conflict: "keep_both" });
    if (answer.ok) follow(answer.data);
    else complain(answer.error);
    return;
  }
  await settle((on_conflict) => call("POST", "moves", { items: paths, into, on_conflict }), nameOf(paths[0]));
}

/** Do it; on a conflict ask what to do with it. */
async function settle(act, name) {
  let answer = await act("refuse");
  const clash = answer.error ?? answer.data?.results?.find((result) => result.error)?.error;
  if (clash?.code === "exists") {
    const key = await choose(word("conflict", { name: shown(name) }), [["", word("cancel")], ["keep_both", word("keep_both")], ["replace", word("replace"), "btn btn-sm btn-primary"]]);
    if (key) answer = await act(key);
    else answer = { ok: true };
  }
  const failed = answer.ok ? answer.data?.results?.find((result) => result.error)?.error : answer.error;
  if (failed) complain(failed);
  refresh();
}

async function throwAway(paths) {
  if (paths.length > 1) {
    const sure = await choose(word("confirm_delete", { count: paths.length }), [["no", word("cancel")], ["yes", word("delete"), "btn btn-sm btn-danger"]]);
    if (sure !== "yes") return;
  }
  const answer = await call("POST", "trash", { paths });
  if (!answer.ok) complain(answer.error);
  else say(word("to_trash", { count: paths.length, days: trashDays }));
  refresh();
}

// buttons

$("nd-new").addEventListener("click", async () => {
  const name = await ask(word("new_folder"), word("folder_name"));
  if (!name) return;
  const answer = await call("POST", "folders", { path: join(state.path, name) });
  if (!answer.ok) complain(answer.error);
  refresh();
});
$("nd-trash").addEventListener("click", () => trash(refresh));
$("nd-import").addEventListener("click", () => imports(state.path, (job) => follow(job, "importing")));
$("nd-command").addEventListener("click", () => commandLine());
$("nd-files").addEventListener("click", () => $("nd-pick-files").click());
$("nd-folder").addEventListener("click", () => $("nd-pick-folder").click());
for (const id of ["nd-pick-files", "nd-pick-folder"]) {
  $(id).addEventListener("change", (event) => {
    enqueue([...event.target.files].map((file) => [file, join(state.path, file.webkitRelativePath || file.name)]));
    event.target.value = "";
  });
}
$("nd-selection").addEventListener("click", (event) => {
  const paths = [...state.selected.keys()];
  const acts = { zip: () => zip(paths), move: () => transfer("moves", paths), copy: () => transfer("copies", paths), trash: () => throwAway(paths) };
  acts[event.target.closest("[data-do]")?.dataset.do]?.();
});
$("nd-all").addEventListener("change", (event) => {
  for (const box of rows.querySelectorAll("input[type=checkbox]")) if (box.checked !== event.target.checked) box.click();
});
for (const sorter of document.querySelectorAll(".nd-sort")) {
  sorter.addEventListener("click", () => {
    state.order = state.sort === sorter.dataset.sort && state.order === "asc" ? "desc" : "asc";
    state.sort = sorter.dataset.sort;
    for (const other of document.querySelectorAll(".nd-sort")) other.parentElement.removeAttribute("aria-sort");
    sorter.parentElement.setAttribute("aria-sort", state.order === "asc" ? "ascending" : "descending");
    load();
  });
}
$("nd-search").addEventListener("submit", (event) => event.preventDefault());
let typing = 0;
$("nd-search").addEventListener("input", (event) => {
  clearTimeout(typing);
  typing = setTimeout(() => { state.found = event.target.value.trim() || null; load(); }, 300);
});

// dropping

let over = 0;
const carriesFiles = (event) => event.dataTransfer?.types?.includes("Files");
addEventListener("dragenter", (event) => { if (carriesFiles(event)) { over += 1; $("nd-drop").hidden = false; } });
addEventListener("dragleave", (event) => { if (carriesFiles(event) && --over <= 0) { over = 0; $("nd-drop").hidden = true; } });
addEventListener("dragover", (event) => { if (carriesFiles(event)) event.preventDefault(); });
addEventListener("drop", async (event) => {
  if (!carriesFiles(event)) return;
  event.preventDefault();
  over = 0;
  $("nd-drop").hidden = true;
  enqueue(await dropped(event.dataTransfer, state.path));
});

// the list follows its end, and what was uploaded appears

new IntersectionObserver(([seen]) => { if (seen.isIntersecting && state.next && !state.found) load(true); }, { rootMargin: "600px" }).observe($("nd-end"));
let soon = 0;
onFinished((all) => {
  clearTimeout(soon);
  soon = setTimeout(refresh, all ? 150 : 1500);
});

function follow_address() {
  try { state.path = here(); } catch { state.path = ""; }
  state.found = null;
  $("nd-search").q.value = "";
  load();
}
addEventListener("hashchange", follow_address);

// the page in another language is the page of the same folder: a fragment goes along with where a form leads
document.addEventListener("submit", (event) => {
  if (event.target.matches("form.pref")) event.target.action = event.target.getAttribute("action").split("#")[0] + location.hash;
});
follow_address();
usage();
