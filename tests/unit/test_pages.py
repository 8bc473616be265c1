"""The pages without a server: what stands in them is escaped, links lead nowhere else, filters and notices decide rightly."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ark_extensions.console.pages import bills, frame, look, notices
from ark_extensions.console.pages.create import Prefill
from ark_extensions.console.pages.market import Filters, matching
from ark_extensions.console.pages.words import BROWSER_WORDS, CLOSE_REASONS, STATES
from ark_extensions.console.pages.workspaces import raw
from ark_extensions.domain.autostop import StopReason
from ark_extensions.domain.errors import Conflict
from ark_extensions.domain.offers import Offer, Plan, Quantities
from ark_extensions.domain.workspaces import STARTABLE, State
from ark_extensions.netdisk import pages as netdisk_pages
from ark_extensions.usecases.views import EventView, OfferView, Sentence, WalletView, WorkspaceView
from ark_extensions.web import frame as web_frame

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
EVIL = '"><script>alert(1)</script>{{7*7}}'
OFFER = Offer("cpu-1", "CPU small", Plan.PAYG, Quantities(1, 4096, 50))
SCRIPTS = sorted((look.HERE / "static" / "js").glob("*.js"))
TEMPLATES = sorted(
    path for home in (look.HERE, netdisk_pages.HERE, Path(web_frame.__file__).parent) for path in (home / "templates").glob("*.html")
)


def workspace(**changes: Any) -> WorkspaceView:
    """A running workspace, changed."""
    values: dict[str, Any] = {
        "id": "1", "owner": "alice", "name": "ws1", "display_name": "one", "state": State.RUNNING, "offer": OFFER, "image_id": "i",
        "price_micros_per_hour": 100_000, "image_name": "Python", "data_disk_gib": 0, "datasets": (), "models": (), "auto_stop_at": None,
        "idle_stop_minutes": None, "created_at": NOW, "started_at": NOW, "seen_at": NOW, "cost_this_run_micros": 5, "cost_total_micros": 7,
        "restorable_until": None, "why": (Sentence("Renamed to “{name}”.", {"name": EVIL}),), "event_cursor": 3, **changes,
    }  # fmt: skip
    known = WorkspaceView.__dataclass_fields__
    return WorkspaceView(**{key: value for key, value in values.items() if key in known})


def row(view: WorkspaceView, language: str = "en") -> str:
    env = look.environment(language, "CNY")
    return env.get_template("_row.html").render(w=view, now=NOW, me="alice", admin=False, STARTABLE=STARTABLE, with_why=True)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_name_with_markup_stays_text_everywhere_in_its_row(language: str) -> None:
    html = row(workspace(display_name=EVIL, image_name=EVIL, owner=EVIL), language)
    assert "<script>" not in html
    assert "{{7*7}}" in html, "shown as it was typed"
    assert "/user/%22%3E%3Cscript%3E" in html, "and escaped in addresses"


@pytest.mark.parametrize("state", list(State))
def test_a_row_offers_what_its_state_allows(state: State) -> None:
    html = row(workspace(state=state, restorable_until=NOW + timedelta(days=1) if state is State.RELEASED else None))
    assert ("/lab" in html) == (state is State.RUNNING)
    assert ("/dialog/stop" in html) == (state in (State.RUNNING, State.STARTING))
    assert ("ws1/start" in html) == (state in (State.STOPPED, State.FAILED))
    assert ("ws1/restore" in html) == (state is State.RELEASED)
    assert look.environment("en", "CNY").globals["state_word"](state) in html, "a word, never a dot alone"


def test_advanced_detail_is_text_of_the_event() -> None:
    event = EventView(1, "1", "ws1", NOW, "kind", "error", Sentence("x"), "bob", {"stderr": EVIL})
    env = look.environment("en", "CNY")
    html = env.get_template("_events.html").render(events=[event], next=None, name="", advanced=True, raw=raw, more=False, now=NOW)
    assert "<script>" not in html and "&lt;script&gt;" in html
    assert "event-raw" not in env.get_template("_events.html").render(
        events=[event], next=None, name="", advanced=False, raw=raw, more=False, now=NOW
    )


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_template_compiles(language: str) -> None:
    homes = {look.HERE: look.environment(language, "CNY"), netdisk_pages.HERE: netdisk_pages.environment(language, "CNY")}
    for path in TEMPLATES:
        homes.get(path.parent.parent, homes[look.HERE]).get_template(path.name)


def test_no_template_has_a_script_or_style_of_its_own() -> None:
    for path in TEMPLATES:
        text = path.read_text("utf-8")
        assert not re.search(r"\sstyle\s*=|<style|\son[a-z]+\s*=\s*[\"']|hx-on|javascript:", text), path.name
        assert not re.search(r"<script(?![^>]*(src=|type=\"application/json\"))", text), path.name
        assert "|safe" not in text.replace('"&amp;available=true"|safe', ""), path.name


def test_scripts_say_only_words_that_exist_and_all_words_are_used() -> None:
    text = "\n".join(path.read_text("utf-8") for path in [*SCRIPTS, *TEMPLATES])
    said = set(re.findall(r'word\("(\w+)"', text)) | set(re.findall(r'data-say="(\w+)"', text))
    said |= {key for key in BROWSER_WORDS if f'"{key}"' in text}
    assert said == set(BROWSER_WORDS)


def test_every_state_and_stop_reason_has_a_word() -> None:
    assert set(STATES) == {str(state) for state in State}
    assert {str(reason) for reason in StopReason} <= set(CLOSE_REASONS)


def offer(id: str, *, gpu: str | None = None, count: int = 0, memory: int = 4, price: int = 1, free: int = 1) -> OfferView:
    quantities = Quantities(1, memory * 1024, 50, gpu, count)
    return OfferView(Offer(id, id, Plan.PAYG, quantities), price * 1_000_000, "hour", "v", free, 1)


OFFERS = [
    offer("cpu"),
    offer("a10", gpu="A10", count=1, memory=60, price=2),
    offer("a10x2", gpu="A10", count=2, memory=120, price=4, free=0),
]


@pytest.mark.parametrize(
    ("wanted", "ids"),
    [
        ({}, ["a10", "a10x2", "cpu"]),
        ({"gpu_model": "A10"}, ["a10", "a10x2"]),
        ({"gpu_model": "none"}, ["cpu"]),
        ({"gpu_count": "2"}, ["a10x2"]),
        ({"memory": "60"}, ["a10", "a10x2"]),
        ({"price": "2"}, ["a10", "cpu"]),
        ({"available": True}, ["a10", "cpu"]),
        ({"plan": "monthly"}, []),
    ],
)
def test_filters_leave_what_was_asked_for(wanted: dict[str, Any], ids: list[str]) -> None:
    filters = Filters(**{"plan": "payg", "gpu_model": "", "gpu_count": "", "memory": "", "price": "", "available": False, **wanted})
    assert [view.offer.id for view in matching(OFFERS, filters)] == ids


@pytest.mark.parametrize(
    "address",
    [
        "https://evil.example/",
        "//evil.example",
        "/hub/logout",
        "/services/console/\\evil",
        "/services/console/\nx",
        "",
        "/services/consolex",
    ],
)
def test_a_return_address_is_one_of_our_pages(address: str) -> None:
    assert frame.safe_return(address) == "/services/console/"
    assert frame.safe_return("/services/console/wallet?before=3") == "/services/console/wallet?before=3"


def wallet(balance: int, burn: int, runway: timedelta | None) -> WalletView:
    known = WalletView.__dataclass_fields__
    values: dict[str, Any] = {"balance_micros": balance, "burn_micros_per_hour": burn, "runway": runway}
    return WalletView(**{**{n: f.default for n, f in known.items()}, **values})


@pytest.mark.parametrize(
    ("runway", "balance", "expected"),
    [(None, 5, ""), (None, 0, "red"), (timedelta(hours=25), 5, ""), (timedelta(hours=23), 5, "amber"), (timedelta(hours=2), 5, "red")],
)
def test_the_balance_is_amber_under_a_day_and_red_under_three_hours(runway: timedelta | None, balance: int, expected: str) -> None:
    assert web_frame.level(wallet(balance, 1, runway)) == expected


def test_notices_come_for_what_needs_the_reader_and_for_nothing_else() -> None:
    calm = wallet(100, 0, None)
    assert notices.notices(calm, [], NOW) == []
    soon = ("one", NOW + timedelta(minutes=9))
    assert [n.tone for n in notices.notices(calm, [soon], NOW)] == ["warning"]
    assert [n.tone for n in notices.notices(wallet(1, 1, timedelta(hours=1)), [soon], NOW)] == ["danger", "warning"]


def test_months_follow_each_other_over_the_turn_of_the_year() -> None:
    assert bills.month_before(date(2026, 1, 1)) == date(2025, 12, 1)
    assert bills.month_after(date(2026, 12, 1)) == date(2027, 1, 1)
    assert bills.read_month("2026-02", date(2026, 11, 23)) == date(2026, 2, 1)
    assert bills.read_month("nonsense", date(2026, 11, 23)) == date(2026, 11, 1)


def test_a_static_file_has_its_contents_hash_in_its_address() -> None:
    assert re.fullmatch(r"/services/console/static/ark\.css\?v=[0-9a-f]{12}", look.asset("ark.css"))


def test_the_frame_is_one_whichever_service_shows_it() -> None:
    values: dict[str, Any] = {
        **web_frame.around(wallet(5_000_000, 1, timedelta(hours=2)), admin=True), "theme": "auto", "section": "netdisk", "xsrf": "x",
        "here": "/services/netdisk/", "now": NOW, "me": "alice", "admin": True, "notices": [], "webdav": "", "trash_days": 30, "runs": [],
    }  # fmt: skip
    there = netdisk_pages.environment("zh", "CNY").get_template("netdisk.html").render(**values)
    here = look.environment("zh", "CNY").get_template("base.html").render(**values)
    top = re.compile(r'<header class="topbar">.*</nav>\s*<div class="scrim"', re.DOTALL)
    frames = [top.search(html.replace("/services/netdisk/preferences", "/services/console/preferences")) for html in (here, there)]
    assert frames[0] and frames[1] and frames[0].group() == frames[1].group()
    assert 'class="balance red"' in there and "/services/console/recharge" in there and "/services/console/account" in there


def test_a_refusal_on_a_page_names_the_installations_currency() -> None:
    error = Conflict("You can pay in between {least_micros} and {most_micros} at once.", least_micros=1_000_000, most_micros=2_500_000)
    assert look.error_sentence(error, 409, "en", "EUR") == "You can pay in between €1.00 and €2.50 at once."
    assert "¥" not in look.error_sentence(error, 409, "zh", "USD")


@pytest.mark.parametrize("free", [0, 1])
def test_the_form_of_a_workspace_opens_though_all_compute_is_sold_out(free: int) -> None:
    image = SimpleNamespace(id="python", name="Python", framework="", description="", size_bytes=1)
    html = look.environment("en", "CNY").get_template("create.html").render(
        **web_frame.around(WalletView(0, 0, None), admin=False), now=NOW, me="alice", admin=False, notices=[], theme="auto",
        section="workspaces", xsrf="x", here="/", chosen=Prefill(), assets=[], offers=[OfferView(OFFER, 100_000, "hour", "p1", free, 2)],
        images=[image], disks=[], default_disk=0, datasets=[], models=[],
    )  # fmt: skip
    assert re.search(r'name="offer" value="cpu-1" checked', html), "one is chosen: its price is shown, and that none is free"
