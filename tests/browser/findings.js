// What is wrong with a page for somebody who reads it with a keyboard, a screen reader or poor eyes: the serious rules of
// WCAG 2.2 AA that a program can decide. → [{rule, where}], empty when nothing is found.
() => {
  const found = [];
  const add = (rule, element) => found.push({ rule, where: element.outerHTML.replace(/\s+/g, " ").slice(0, 160) });
  const top = document.querySelector("dialog[open]") ?? document.body;
  const seen = (e) => e.checkVisibility({ visibilityProperty: true, opacityProperty: true }) && e.getClientRects().length > 0;
  const all = (selector) => [...top.querySelectorAll(selector)].filter((e) => seen(e) && !e.closest("[aria-hidden=true], [inert]"));
  const text = (e) => [...e.childNodes].map((n) => n.nodeType === 3 ? n.data
    : n.nodeType !== 1 || n.getAttribute("aria-hidden") === "true" || getComputedStyle(n).display === "none" ? ""
    : n.getAttribute("aria-label") ?? (n.tagName === "IMG" ? n.alt : text(n))).join("").trim();
  const named = (e) => (e.getAttribute("aria-labelledby") ?? "").split(" ").filter(Boolean).map((id) => document.getElementById(id)?.textContent ?? "").join("").trim()
    || e.getAttribute("aria-label")?.trim() || [...(e.labels ?? [])].map(text).join("").trim() || text(e) || e.getAttribute("title")?.trim()
    || (e.tagName === "INPUT" && ["submit", "button", "reset"].includes(e.type) ? e.value : "");

  for (const e of all("a[href], button, input:not([type=hidden]), select, textarea, summary, [role=button], [role=switch], [role=separator][tabindex], progress, meter, [role=progressbar]")) if (!named(e)) add("name", e);
  for (const e of all("dialog[open], [role=dialog], nav, section[aria-label], iframe")) if (e.matches("dialog, [role=dialog], iframe") && !named(e).length && !e.title) add("name", e);
  for (const e of all("img:not([alt])")) add("alt", e);
  for (const e of all("[tabindex]")) if (e.tabIndex > 0) add("tabindex", e);
  for (const e of all("a a, a button, button a, button button, label a, button input, a input")) add("nested", e);
  for (const e of document.querySelectorAll("[aria-hidden=true]")) if ([...e.querySelectorAll("a[href], button, input, select, textarea")].some((c) => seen(c) && c.tabIndex >= 0 && !c.disabled)) add("hidden-focus", e);
  const ids = new Map();
  for (const e of document.querySelectorAll("[id]")) ids.set(e.id, (ids.get(e.id) ?? 0) + 1);
  for (const [id, count] of ids) if (count > 1) add("duplicate-id", document.getElementById(id));
  for (const e of all("[aria-labelledby], [aria-describedby]")) for (const name of ["aria-labelledby", "aria-describedby"]) for (const id of (e.getAttribute(name) ?? "").split(" ").filter(Boolean)) if (!document.getElementById(id)) add(name, e);
  for (const e of all("ul, ol")) if ([...e.children].some((c) => !["LI", "SCRIPT", "TEMPLATE"].includes(c.tagName))) add("list", e);
  for (const e of all("li")) if (!e.closest("ul, ol, menu")) add("list", e);
  for (const e of all("dl")) if ([...e.children].some((c) => !["DT", "DD", "DIV", "SCRIPT", "TEMPLATE"].includes(c.tagName))) add("list", e);
  for (const e of all("*")) {
    const style = getComputedStyle(e);
    const scrolls = ["auto", "scroll"].includes(style.overflowY) && e.scrollHeight > e.clientHeight + 2 || ["auto", "scroll"].includes(style.overflowX) && e.scrollWidth > e.clientWidth + 2;
    if (scrolls && e !== document.body && e.tabIndex < 0 && !e.querySelector("a[href], button, input, select, textarea, [tabindex='0']")) add("scroll-focus", e);
  }
  if (!document.documentElement.lang) add("lang", document.documentElement);
  if (!document.title.trim()) add("title", document.documentElement);
  if (top === document.body) {
    if (all("main").length !== 1) add("main", document.querySelector("main") ?? document.body);
    if (all("h1").length !== 1) add("h1", document.querySelector("h1") ?? document.body);
  }

  // contrast: each piece of text against what lies under it
  const probe = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const known = new Map();
  const rgba = (color) => {
    if (!known.has(color)) {
      probe.clearRect(0, 0, 1, 1);
      probe.fillStyle = color;
      probe.fillRect(0, 0, 1, 1);
      const [r, g, b, a] = probe.getImageData(0, 0, 1, 1).data;
      known.set(color, [r, g, b, a / 255]);
    }
    return known.get(color);
  };
  const over = (a, b) => [0, 1, 2].map((i) => a[i] * a[3] + b[i] * (1 - a[3])).concat(1);
  const light = (c) => [0.2126, 0.7152, 0.0722].reduce((sum, part, i) => sum + part * ((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)(c[i] / 255), 0);
  const ground = (e) => {
    const layers = [];
    for (let at = e; at; at = at.parentElement) {
      const style = getComputedStyle(at);
      if (style.backgroundImage !== "none" && !at.matches("select, input")) return null;
      const color = rgba(style.backgroundColor);
      if (color[3] > 0) layers.push(color);
      if (color[3] === 1) break;
    }
    return layers.reverse().reduce((under, color) => over(color, under), rgba(getComputedStyle(document.documentElement).colorScheme.includes("dark") ? "#121212" : "#fff"));
  };
  const walker = document.createTreeWalker(top, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const e = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !seen(e) || e.closest("script, style, option, svg, .visually-hidden, [aria-hidden=true], :disabled, .disabled, .gone, label:has(:disabled)")) continue;
    const box = e.getBoundingClientRect();
    if (box.width < 2 || box.height < 2 || box.bottom < 0 || box.right < 0) continue;
    const under = ground(e);
    if (!under) continue;
    const style = getComputedStyle(e);
    const [a, b] = [light(over(rgba(style.color), under)), light(under)];
    const large = parseFloat(style.fontSize) >= 24 || parseFloat(style.fontSize) >= 18.66 && Number(style.fontWeight) >= 700;
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < (large ? 3 : 4.5) - 0.01) add(`contrast ${ratio.toFixed(2)}`, e);
  }
  return found;
}
