"""Every page as it is looked at: wide and narrow, light and dark, in both languages; with dialogs open, empty, and as an error.

Each is held against axe-core, its width, what moves while it loads, and the other language; and what people wrote is shown as text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict

import pytest
from playwright.sync_api import Page, expect
from sqlalchemy import select

from ark_extensions.settings import Settings
from ark_extensions.storage import Storage
from ark_extensions.storage.tables import transactions, users, workspaces
from ark_extensions.storage.tables_money import audit_log, voucher_batches
from tests.browser.axe import findings
from tests.browser.conftest import CONSOLE, Visitor
from tests.browser.furnished import FILE, HOSTILE, furnish, reach
from tests.platform import Platform

Visit = Callable[..., Visitor]
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
#: with ``True``: something that somebody wrote is on it, and is markup
FULL = {
    "workspaces?events={running}": True, "workspaces/new": False, "workspaces/new?clone={stopped}": True, "assets": False, "disks": True,
    "wallet": True, "recharge": False, "bills": True, "bills?by=workspace": True, "ssh-keys": True, "admin/users": False,
    "admin/users/admin": True, "admin/users/{frozen}": True, "admin/money": False, "admin/money/recharges?status=all": False,
    "admin/money/vouchers": True, "admin/money/prices": False, "admin/money/acts": True, "admin/workspaces": True,
    "/services/netdisk/": True, "/hub/home": False, "/hub/token": True, "/hub/admin": False,
}  # fmt: skip
DIALOGS = {
    "workspaces/{running}/dialog/stop": True, "workspaces/{stopped}/dialog/start": True, "workspaces/{stopped}/dialog/release": True,
    "workspaces/{running}/dialog/budget": True, "workspaces/{stopped}/dialog/grow": True, "workspaces/{running}/dialog/auto-stop": True,
    "assets/buy?offer={monthly}": False, "assets/{asset}/renew": False, "assets/{asset}/conversion": False, "ssh-keys/{key}/delete": True,
    "admin/users/admin/act/credit": False, "admin/users/admin/act/refund": False, "admin/users/admin/act/correct": False,
    "admin/users/admin/act/freeze": False, "admin/users/{frozen}/act/freeze": False, "admin/money/recharges/{recharge}/confirm": False,
    "admin/money/prices/change?subject=netdisk": False, "workspaces/none/dialog/stop": False,
}  # fmt: skip
NETDISK_DIALOGS = {"#nd-command": True, "#nd-import": False, "#nd-trash": True, "#nd-new": False, "#nd-usage button": True}
PRODUCTS = re.compile(
    r"JupyterLab|Jupyter|VS Code|Remote|JetBrains Gateway|Python|NumPy|pandas|scikit-learn|Matplotlib|PowerShell|Windows|macOS|Linux|CC BY"
    r"|BSD|Clause|CPU|GPU|vCPU|[KMGT]iB|SSH|API|Hub|CSV|CNY|JSON|rclone|WebDAV|Ark|digits-mlp|digits|admin|scp|rsync|ssh|AAAA|known_hosts"
    r"|EN: Switch to English|~?/[\w./~-]*"
)
MARKUP = "><img src=x onerror="


@pytest.fixture(scope="module")
def platform(selling: Platform) -> Platform:
    return selling


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


def look(page: Page, what: str, *, dark: bool, markup: bool = False) -> list[str]:
    """What is wrong with the page as it stands, in two views. ``markup``: there is some, which must be seen as it was written."""
    wrong = []
    if markup and MARKUP not in page.locator("body").inner_text() + " ".join(
        page.locator("input").evaluate_all("i => i.map(e => e.value)")
    ):
        wrong.append(f"{what}: does not show what was written")
    if page.evaluate("window.ran"):
        wrong.append(f"{what}: runs what was written")
    shifted = page.evaluate("window.shifted")
    if shifted > SHIFT_MAX:
        wrong.append(f"{what}: moves by {shifted:.3f} while it loads")
    for view in views(page, dark=dark):
        wrong += [f"{what} {view}: {found}" for found in findings(page)]
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
    # and what its operator wrote into its settings, and a price's name
    return {" ".join(text.split()) for text in found} | {"Account 6222 0000, Bank of Testing", "netdisk", "2", "3"}


def foreign(visitor: Visitor, what: str, language: str) -> list[str]:
    """Sentences in the language that was not asked for."""
    hostile = re.compile("|".join(re.escape(text) for text in (HOSTILE, FILE, HOSTILE[:60], HOSTILE[:59])))
    texts = {hostile.sub("", text) for text in set(visitor.page.evaluate(TEXTS)) - written_by_people(visitor.platform)}
    if language == "en":
        return [f"{what}: {text}" for text in texts if re.search(r"[\u4e00-\u9fff]", text) and " · " not in text and text != "切换到中文"]
    bare = {text: PRODUCTS.sub(" ", text) for text in texts if not re.search(r"[\u4e00-\u9fff]", text)}
    return [f"{what}: {text}" for text, rest in bare.items() if re.search(r"\b[A-Z]?[a-z]{3,}\b", rest)]


def address_of(visitor: Visitor, path: str) -> str:
    return visitor.platform.address + (path if path.startswith("/") else f"{CONSOLE}/{path}")


def walk(visitor: Visitor, paths: Mapping[str, bool], language: str) -> list[str]:
    dark = language == "zh"
    page = prepare(visitor, language, dark=dark)
    wrong = []
    for path, markup in paths.items():
        page.goto(address_of(visitor, path))
        if path == "/services/netdisk/":
            expect(page.locator("#nd-note")).not_to_be_empty()
        if path == "/hub/admin":
            expect(page.locator("#react-admin-hook table").first).to_be_visible()
        if "events=" in path:
            expect(page.locator("#events-body .event").first).to_be_visible()
        wrong += look(page, path, dark=dark, markup=markup) + foreign(visitor, path, language)
    return wrong


def test_each_page_of_somebody_who_has_nothing_yet(visit: Visit) -> None:
    visitor = visit()
    wrong = walk(visitor, dict.fromkeys(EMPTY, False), "en")
    visitor.sign_in()
    wrong += walk(visitor, dict.fromkeys(EMPTY, False), "zh")
    assert not wrong, "\n".join(wrong)


def test_each_empty_list_says_what_to_do_next(visit: Visit) -> None:
    visitor = visit()
    for path in ("workspaces", "assets", "bills", "wallet", "marketplace?price=0.000001"):
        page = visitor.open(path)
        assert page.locator(".empty a[href]").count() > 0, f"{path} leads on"
    for path, control in (("disks", "a.btn-primary"), ("ssh-keys", "form [type=submit]"), ("recharge", "form [type=submit]")):
        expect(visitor.open(path).locator(f"main {control}").first).to_be_visible()


def tokens(visitor: Visitor) -> None:
    """What only a session may make, with markup for a name; a second press makes no second one."""
    page = visitor.page
    page.goto(address_of(visitor, "/hub/token"))
    page.locator("#token-note").fill(HOSTILE)
    page.locator("#request-token-form [type=submit]").dblclick()
    expect(page.locator("#token-result")).not_to_be_empty()
    page.reload()
    expect(page.locator("#api-tokens-table td", has_text=HOSTILE)).to_have_count(1)
    page.goto(address_of(visitor, "/services/netdisk/"))
    page.locator("#nd-command").click()
    page.locator("#nd-token-name").fill(HOSTILE[:60])
    page.locator("#nd-dialog form button").dblclick()
    expect(page.locator("#nd-dialog")).to_contain_text("This is shown once")
    expect(page.locator("#nd-dialog .nd-item", has_text=HOSTILE[:60])).to_have_count(1)


def dialogs(visitor: Visitor, patterns: Mapping[str, bool], language: str) -> list[str]:
    """Each dialog: what is wrong with it, and whether the keyboard stays in it and leaves it."""
    dark = language == "zh"
    page = visitor.page
    page.goto(address_of(visitor, "workspaces"))
    wrong = []
    for path, markup in patterns.items():
        page.evaluate(f"""htmx.ajax("GET", "{CONSOLE}/{path}", {{ target: "#dialog-body", source: document.body }})""")
        expect(page.locator("#dialog-title")).to_be_visible()
        expect(page.locator("#dialog .waiting")).to_have_count(0)
        wrong += look(page, path, dark=dark, markup=markup) + foreign(visitor, path, language)
        wrong += keyboard(page, path)
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
    for opener, markup in NETDISK_DIALOGS.items():
        page.goto(address_of(visitor, "/services/netdisk/"))
        expect(page.locator("#nd-note")).not_to_be_empty()
        page.locator(opener).click()
        expect(page.locator("#nd-dialog h2").first).to_be_visible()
        wrong += look(page, opener, dark=dark, markup=markup) + foreign(visitor, opener, language)
        page.keyboard.press("Escape")
        expect(page.locator("#nd-dialog")).to_be_hidden()
    return wrong


def test_each_page_and_dialog_of_an_administrator_who_has_something_of_everything(visit: Visit, platform: Platform) -> None:
    made = asdict(furnish(platform))
    admin = visit(user="admin", password=platform.admin_password)
    tokens(admin)
    pages, asked = ({path.format(**made): markup for path, markup in found.items()} for found in (FULL, DIALOGS))
    wrong: list[str] = []
    for language in ("en", "zh"):
        wrong += walk(admin, pages, language) + dialogs(admin, asked, language) + netdisk_dialogs(admin, language)
    platform.api("POST", f"/workspaces/{made['running']}/stop")
    platform.api("POST", f"/assets/{made['asset']}/conversion", {})
    reach(platform, made["running"], "stopped")
    wrong += walk(admin, {f"/hub/user/admin/{made['running']}/lab": False}, "zh")  # a tab that was left open
    expect(admin.page.get_by_role("button", name="启动", exact=True)).to_be_visible()
    assert not wrong, "\n".join(wrong)
