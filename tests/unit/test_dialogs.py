"""What a dialog says before something is given up: what it costs afterwards, what is lost, and until when it can be had back."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest

from ark_extensions.console.pages import look
from tests.unit.test_pages import NOW, workspace


def dialog(kind: str, language: str = "en", *, outside_bytes: int | None = None, recycle_days: int = 7, **changes: object) -> str:
    about = {"w": workspace(**changes), "kind": kind, "now": NOW, "mine": None, "outside_bytes": outside_bytes}
    html = (
        look.environment(language, "CNY")
        .get_template("_dialog.html")
        .render(**about, recycle_days=recycle_days, until=NOW + timedelta(days=recycle_days))
    )
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", "", html))


@pytest.mark.parametrize(
    ("language", "costs", "free"),
    [
        ("en", "While stopped it costs ¥2.40 a day, for its data disk of 200 GiB.", "While stopped it costs nothing."),
        ("zh", "停止期间，200 GiB 数据盘每天收费 ¥2.40。", "停止期间不收费。"),
    ],
)
def test_before_a_stop_it_says_what_a_stopped_workspace_costs_a_day(language: str, costs: str, free: str) -> None:
    bought, none = (
        dialog("stop", language, data_disk_gib=200, disk_price_micros_per_day=2_400_000),
        dialog("stop", language, data_disk_gib=0, disk_price_micros_per_day=0),
    )
    assert costs in bought and free not in bought, bought
    assert free in none and costs not in none, none


def test_before_a_stop_it_says_how_much_is_lost_where_that_is_known() -> None:
    assert "Lost: 3.0 MiB of files outside /home/user" in dialog("stop", outside_bytes=3 << 20)
    assert "Lost: files outside /home/user" in dialog("stop", outside_bytes=None)
    assert "Kept: everything in /home/user and in ~/data." in dialog("stop")


def test_before_a_release_it_says_until_when_it_can_be_had_back() -> None:
    assert "Until then you can restore it." in dialog("release")
    at_once = dialog("release", recycle_days=0)
    assert "is deleted at once" in at_once and "you can restore it" not in at_once
