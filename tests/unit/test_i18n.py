"""What a person reads: every sentence of the project is in the Chinese catalogue, fields survive, and nothing a user typed becomes HTML."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from ark_extensions.console.locale import extract
from ark_extensions.usecases.views import Sentence
from ark_extensions.web import i18n

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


def test_every_sentence_has_a_chinese_translation_and_none_is_left_over() -> None:
    found = set(extract.extract())
    catalog = [m for m in extract.catalog() if m.id]
    assert not sorted(found - {m.id for m in catalog}), "run: python -m ark_extensions.console.locale.extract"
    assert not sorted({m.id for m in catalog} - found), "unused; run: python -m ark_extensions.console.locale.extract"
    assert not [m.id for m in catalog if not m.string], "untranslated"
    assert not [m.id for m in catalog if m.fuzzy], "fuzzy"


def test_a_translation_has_the_fields_of_its_sentence() -> None:
    assert not [m.id for m in extract.catalog() if m.id and extract.fields(m.id) != extract.fields(m.string)]


def test_extraction_finds_sentences_wherever_they_are_written() -> None:
    text = """
raise Conflict("a" "b", code="x")
say(Sentence("c {n}"), other("not this"))
BUSY_SENTENCES: dict[str, str] = {"k": "d"}
ENDED = {"k": "e"}
x = Sentence(ENDED["k"])
y = _("f" if z else "g")
PLAIN = {"k": "not this either"}
"""
    assert sorted(s for _line, s in extract.from_python(text)) == ["ab", "c {n}", "d", "e", "f", "g"]
    assert [s for _line, s in extract.from_template('{{ _("h") }}{{ t("no") }}{% if _("i {n}", n=1) %}{% endif %}')] == ["h", "i {n}"]


def test_a_sentence_is_filled_in_the_readers_language() -> None:
    sentence = Sentence(
        "It costs {price_micros} an hour; {cost_micros} so far in this run.", {"price_micros": 3_200_000, "cost_micros": 123}
    )
    assert i18n.render(sentence, "en", "CNY") == "It costs ¥3.20 an hour; ¥0.000123 so far in this run."
    assert i18n.render(sentence, "zh", "CNY") == "每小时 ¥3.20，本次运行目前 ¥0.000123。"


def test_times_are_plain_for_the_api_and_elements_for_pages() -> None:
    sentence = Sentence("It stops at {stop_at}, the auto-stop time.", {"stop_at": NOW.isoformat()})
    assert i18n.render(sentence, "en", "CNY") == "It stops at 2026-11-23 12:00 UTC, the auto-stop time."
    assert '<time datetime="2026-11-23T12:00:00Z" data-form="clock">' in i18n.render_html(sentence, "en", "CNY")


def test_what_a_user_typed_is_escaped_in_html_and_kept_in_text() -> None:
    sentence = Sentence("Renamed to “{name}”.", {"name": "<b>{x}</b>"})
    assert i18n.render(sentence, "en", "CNY") == "Renamed to “<b>{x}</b>”."
    assert "&lt;b&gt;{x}&lt;/b&gt;" in i18n.render_html(sentence, "zh", "CNY")


def test_a_missing_or_odd_parameter_never_fails() -> None:
    assert i18n.render(Sentence("Hello {who}", {}), "en", "CNY") == "Hello {who}"
    assert i18n.render(Sentence("At {x_at}", {"x_at": "nonsense"}), "en", "CNY") == "At nonsense"


@pytest.mark.parametrize(
    ("micros", "places", "text"),
    [
        (3_200_000, None, "¥3.20"),
        (1, None, "¥0.000001"),
        (-1_500_000, None, "−¥1.50"),
        (1_999_999, 2, "¥1.99"),
        (0, 4, "¥0.0000"),
        (82_400_000, 2, "¥82.40"),
    ],
)
def test_money_is_exact_or_cut_never_rounded_up(micros: int, places: int | None, text: str) -> None:
    assert i18n.money(micros, "CNY", places) == text


def test_money_of_a_currency_without_a_sign_names_it() -> None:
    assert i18n.money(1_000_000, "CHF") == "CHF 1.00"


@pytest.mark.parametrize(
    ("span", "text"),
    [
        (timedelta(seconds=-5), "0 s"),
        (timedelta(seconds=40), "40 s"),
        (timedelta(minutes=12, seconds=59), "12 min"),
        (timedelta(hours=2, minutes=13), "2 h 13 min"),
        (timedelta(hours=25, minutes=50), "25 h"),
        (timedelta(days=3, hours=4), "3 d 4 h"),
        (timedelta(days=45), "45 d"),
        (timedelta(days=4000), "over 10 years"),
        (None, "∞"),
    ],
)
def test_spans_are_cut_to_two_units(span: timedelta | None, text: str) -> None:
    assert i18n.duration(span, "en") == text


@pytest.mark.parametrize(
    ("wanted", "accepts", "chosen"),
    [
        ("en", "zh-CN", "en"),
        (None, "zh-CN,zh;q=0.9,en;q=0.8", "zh"),
        (None, "fr-FR,en;q=0.5,zh;q=0.7", "zh"),
        (None, "fr", "en"),
        ("xx", "", "en"),
        (None, "en;q=oops, zh", "zh"),
    ],
)
def test_the_language_is_the_readers_choice_then_the_browsers_then_the_installations(wanted: str | None, accepts: str, chosen: str) -> None:
    assert i18n.choose_language(wanted, accepts, "en") == chosen


def test_sizes_and_relative_times() -> None:
    assert [i18n.size(n) for n in (0, 1023, 1536, 200 * 1024**2, 3 * 1024**4)] == ["0 B", "1023 B", "1.5 KiB", "200 MiB", "3.0 TiB"]
    assert i18n.ago(NOW - timedelta(minutes=5), NOW, "en") == "5 minutes ago"
    assert i18n.ago(NOW - timedelta(minutes=5), NOW, "zh") == "5分钟前"
