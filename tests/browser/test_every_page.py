"""Every page as it is looked at: wide and narrow, light and dark, in both languages; with dialogs open, empty, and as an error.

Each is held against the serious rules of accessibility (``findings.js``), its width, what moves while it loads, and the other
language.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from playwright.sync_api import Page, expect
from sqlalchemy import select

from ark_extensions.settings import Settings
from ark_extensions.storage import Storage
from ark_extensions.storage.tables import transactions, users, workspaces
from ark_extensions.storage.tables_money import audit_log, voucher_batches
from tests.browser.conftest import CONSOLE, Visitor
from tests.platform import Platform, wait_until

Visit = Callable[..., Visitor]
FINDINGS = (Path(__file__).parent / "findings.js").read_text("utf-8")
SHIFTS = """window.shifted = 0;
new PerformanceObserver((list) => { for (const e of list.getEntries()) if (!e.hadRecentInput) window.shifted += e.value; })
  .observe({ type: "layout-shift", buffered: true });"""
SHIFT_MAX = 0.1
#: what a reader sees or hears, outside code and what is marked as another language; names that people gave are left out by their marks
TEXTS = """() => {
  const left = "script, style, code, pre, noscript, option[value*='-'], [lang]:not(html), [data-title] .name";
  const texts = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const e = walker.currentNode.parentElement;
    const text = walker.currentNode.data.replace(/\\s+/g, " ").trim();
    if (text && e.checkVisibility() && !e.closest(left)) texts.push(text);
  }
  for (const name of ["aria-label", "title", "placeholder"])
    for (const e of document.querySelectorAll(`[${name}]`)) if (!e.closest("[lang]:not(html), template")) texts.push(e.getAttribute(name));
  return texts;
}"""
EMPTY = (
    "marketplace", "marketplace?view=rows", "marketplace?view=cards", "marketplace?plan=monthly", "marketplace?price=0.000001",
    "workspaces", "workspaces/new", "assets", "disks", "datasets", "models", "wallet", "recharge", "bills", "account", "ssh-keys",
    "no/such/page",
    "admin/users", "/services/netdisk/", "/hub/home", "/hub/token", "/hub/nothing", "/hub/spawn/nobody/x", "/hub/logout",
)  # fmt: skip
FULL = (
    "workspaces", "workspaces?events={name}", "disks", "wallet", "bills", "ssh-keys", "admin/users", "admin/users/admin", "admin/money",
    "admin/money/recharges", "admin/money/vouchers", "admin/money/prices", "admin/money/acts", "admin/workspaces", "/hub/token",
)  # fmt: skip
DIALOGS = (
    "workspaces/{name}/dialog/stop", "workspaces/{name}/dialog/start", "workspaces/{name}/dialog/release",
    "workspaces/{name}/dialog/budget", "workspaces/{name}/dialog/grow", "workspaces/{name}/dialog/auto-stop", "assets/buy?offer={monthly}",
    "ssh-keys/{key}/delete",
    "admin/users/admin/act/credit", "admin/users/admin/act/correct", "admin/users/admin/act/freeze", "workspaces/none/dialog/stop",
)  # fmt: skip
PRODUCTS = re.compile(
    r"JupyterLab|Jupyter|VS Code|Remote|JetBrains Gateway|Python|NumPy|pandas|scikit-learn|Matplotlib|PowerShell|Windows|macOS|Linux|CC BY"
    r"|BSD|Clause|CPU|GPU|vCPU|[KMGT]iB|SSH|API|Hub|CSV|CNY|JSON|rclone|WebDAV|Ark|digits-mlp|digits|admin|scp|rsync|ssh|AAAA|known_hosts"
    r"|EN: Switch to English|~?/[\w./~-]*"
)
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGSpTGtQ7XhJ0l2Jd8YV0kzE5m1sJb3y0m1o6c3pXh7d somebody@laptop"


def prepare(visitor: Visitor, language: str, *, dark: bool) -> Page:
    page = visitor.page
    address = visitor.platform.address
    page.context.add_cookies(
        [{"name": "ark-language", "value": language, "url": address}, {"name": "ark-theme", "value": "auto", "url": address}]
    )
    page.context.add_init_script(SHIFTS)
    page.emulate_media(
        color_scheme="dark" if dark else "light", reduced_motion="reduce"
    )  # nothing is between two colours when it is looked at
    return page


def views(page: Page, *, dark: bool) -> Iterator[str]:
    """Wide in one theme, narrow in the other; the other language begins with the other theme."""
    yield f"1440 {'dark' if dark else 'light'}"
    page.set_viewport_size({"width": 360, "height": 780})
    page.emulate_media(color_scheme="light" if dark else "dark")
    expect(page.locator("html")).to_have_attribute("data-bs-theme", "light" if dark else "dark")
    yield f"360 {'light' if dark else 'dark'}"
    page.set_viewport_size({"width": 1440, "height": 900})
    page.emulate_media(color_scheme="dark" if dark else "light")


def look(page: Page, what: str, *, dark: bool) -> list[str]:
    """What is wrong with the page as it stands, in two views."""
    wrong = []
    shifted = page.evaluate("window.shifted")
    if shifted > SHIFT_MAX:
        wrong.append(f"{what}: moves by {shifted:.3f} while it loads")
    for view in views(page, dark=dark):
        wrong += [f"{what} {view}: {f['rule']} {f['where']}" for f in page.evaluate(FINDINGS)]
        over = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        if over > 0:
            wrong.append(f"{what} {view}: {over} px too wide")
    return wrong


def written_by_people(platform: Platform) -> set[str]:
    """What users and operators of this platform wrote themselves, in other tests too: it has no other language."""
    storage = Storage(Settings(state_dir=platform.state_dir).resolved_database_url)
    try:
        with storage.read() as connection:
            fields = (
                workspaces.c.display_name,
                workspaces.c.name,
                transactions.c.memo,
                audit_log.c.reason,
                users.c.frozen_reason,
                voucher_batches.c.reason,
            )
            found = {text for field in fields for text in connection.execute(select(field)).scalars() if text}
    finally:
        storage.close()
    return {" ".join(text.split()) for text in found}


def foreign(visitor: Visitor, what: str, language: str) -> list[str]:
    """Sentences in the language that was not asked for."""
    texts = set(visitor.page.evaluate(TEXTS)) - written_by_people(visitor.platform)
    if language == "en":
        return [f"{what}: {text}" for text in texts if re.search(r"[\u4e00-\u9fff]", text) and " · " not in text and text != "切换到中文"]
    bare = {text: PRODUCTS.sub(" ", text) for text in texts if not re.search(r"[\u4e00-\u9fff]", text)}
    return [f"{what}: {text}" for text, rest in bare.items() if re.search(r"\b[A-Z]?[a-z]{3,}\b", rest)]


def address_of(visitor: Visitor, path: str) -> str:
    return visitor.platform.address + (path if path.startswith("/") else f"{CONSOLE}/{path}")


def walk(visitor: Visitor, paths: Iterable[str], language: str) -> list[str]:
    dark = language == "zh"
    page = prepare(visitor, language, dark=dark)
    wrong = []
    for path in paths:
        page.goto(address_of(visitor, path))
        if path == "/services/netdisk/":
            expect(page.locator("#nd-note")).not_to_be_empty()
        if "events=" in path:
            expect(page.locator("#events-body .event").first).to_be_visible()
        wrong += look(page, path, dark=dark) + foreign(visitor, path, language)
    return wrong


def test_each_page_of_somebody_who_has_nothing_yet(visit: Visit) -> None:
    visitor = visit()
    wrong = walk(visitor, EMPTY, "en")
    visitor.sign_in()
    wrong += walk(visitor, EMPTY, "zh")
    assert not wrong, "\n".join(wrong)


def test_each_empty_list_says_what_to_do_next(visit: Visit) -> None:
    visitor = visit()
    for path in ("workspaces", "assets", "bills", "wallet", "marketplace?price=0.000001"):
        page = visitor.open(path)
        assert page.locator(".empty a[href]").count() > 0, f"{path} leads on"
    for path, control in (("disks", "a.btn-primary"), ("ssh-keys", "form [type=submit]"), ("recharge", "form [type=submit]")):
        expect(visitor.open(path).locator(f"main {control}").first).to_be_visible()


def stage(visitor: Visitor) -> dict[str, str]:
    """A running workspace with a data disk, and a key."""
    platform = visitor.platform
    offers = platform.api("GET", "/offers").json["items"]
    image = platform.api("GET", "/images").json["items"][0]["id"]
    small = min((o for o in offers if o["plan"] == "payg"), key=lambda o: o["vcpu"])["id"]
    body = {"request_id": "every-page", "offer": small, "image": image, "display_name": "w1", "data_disk_gib": 200, "datasets": ["digits"]}
    made = platform.api("POST", "/workspaces", body)
    assert made.status in (200, 201), made.text
    name = made.json["name"]
    wait_until(lambda: platform.api("GET", f"/workspaces/{name}").json["state"] == "running", seconds=90)
    key = platform.api("POST", "/ssh-keys", {"public_key": KEY, "name": "k1"})
    assert key.status in (200, 201), key.text
    monthly = next(o["id"] for o in platform.api("GET", "/offers?plan=monthly").json["items"])
    return {"name": name, "key": str(key.json["id"]), "monthly": monthly}


def dialogs(visitor: Visitor, made: dict[str, str], language: str) -> list[str]:
    """Each dialog: what is wrong with it, and whether the keyboard stays in it and leaves it."""
    dark = language == "zh"
    page = visitor.page
    page.goto(address_of(visitor, "workspaces"))
    wrong = []
    for pattern in DIALOGS:
        path = pattern.format(**made)
        page.evaluate(f"""htmx.ajax("GET", "{CONSOLE}/{path}", {{ target: "#dialog-body", source: document.body }})""")
        expect(page.locator("#dialog-title")).to_be_visible()
        wrong += look(page, pattern, dark=dark) + foreign(visitor, pattern, language)
        wrong += keyboard(page, pattern)
    return wrong


def keyboard(page: Page, what: str) -> list[str]:
    inside = "document.activeElement === document.body || document.getElementById('dialog').contains(document.activeElement)"
    wrong = (
        [] if page.evaluate("document.getElementById('dialog').contains(document.activeElement)") else [f"{what}: the caret is elsewhere"]
    )
    for _ in range(12):
        page.keyboard.press("Tab")
        if not page.evaluate(inside):
            wrong.append(f"{what}: Tab leaves it")
            break
    page.keyboard.press("Escape")
    expect(page.locator("#dialog")).to_be_hidden()
    return wrong


def netdisk_dialogs(visitor: Visitor, language: str) -> list[str]:
    dark = language == "zh"
    page = visitor.page
    wrong = []
    for opener in ("nd-command", "nd-import", "nd-trash", "nd-new"):
        page.goto(address_of(visitor, "/services/netdisk/"))
        expect(page.locator("#nd-note")).not_to_be_empty()
        page.locator(f"#{opener}").click()
        expect(page.locator("#nd-dialog h2").first).to_be_visible()
        wrong += look(page, opener, dark=dark) + foreign(visitor, opener, language)
        page.keyboard.press("Escape")
        expect(page.locator("#nd-dialog")).to_be_hidden()
    return wrong


def test_each_page_and_dialog_of_an_administrator_who_has_something(visit: Visit, platform: Platform) -> None:
    admin = visit(user="admin", password=platform.admin_password)
    made = stage(admin)
    wrong: list[str] = []
    for language in ("en", "zh"):
        wrong += (
            walk(admin, (path.format(**made) for path in FULL), language)
            + dialogs(admin, made, language)
            + netdisk_dialogs(admin, language)
        )
    platform.api("DELETE", f"/ssh-keys/{made['key']}")
    platform.api("POST", f"/workspaces/{made['name']}/stop")
    wait_until(lambda: platform.api("GET", f"/workspaces/{made['name']}").json["state"] == "stopped", seconds=60)
    wrong += walk(admin, [f"/hub/user/admin/{made['name']}/lab"], "zh")  # a tab that was left open
    expect(admin.page.get_by_role("button", name="启动", exact=True)).to_be_visible()
    assert not wrong, "\n".join(wrong)
