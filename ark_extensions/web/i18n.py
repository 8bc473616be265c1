"""What a person reads, in their language: sentences, money, spans, sizes and times.

Catalogues are `.po` files read once at start (nothing to compile). Every msgid is an English sentence with ``{named}``
fields; English needs no catalogue. `render` fills a `Sentence` of the use cases as plain text, `render_html` with
``<time>`` elements that the browser turns into the reader's own time zone. Both escape or keep what users typed as text.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from babel.dates import format_timedelta
from babel.messages.pofile import read_po
from markupsafe import Markup, escape

from ark_extensions.domain.errors import ArkError
from ark_extensions.domain.money import MICROS, format_amount
from ark_extensions.usecases.views import Sentence

LANGUAGES = ("zh", "en")
LOCALE = Path(__file__).parent.parent / "console" / "locale"
_SYMBOLS = {"CNY": "¥", "USD": "$", "EUR": "€", "GBP": "£", "JPY": "JP¥", "INR": "₹", "KRW": "₩"}
Gettext = Callable[[str], str]


def _(msgid: str) -> str:
    """Marks a string for the catalogue; it is translated where the reader is known."""
    return msgid


@cache
def messages(language: str) -> Mapping[str, str]:
    """msgid → translation, without what is fuzzy or empty."""
    path = LOCALE / language / "LC_MESSAGES" / "ark.po"
    if language not in LANGUAGES or not path.exists():
        return {}
    with path.open("rb") as file:
        catalog = read_po(file, locale=language)
    return {m.id: m.string for m in catalog if isinstance(m.id, str) and isinstance(m.string, str) and m.id and m.string and not m.fuzzy}


@cache
def translator(language: str) -> Gettext:
    """The gettext function of a language; a sentence without a translation comes back in English."""
    known = messages(language)
    return lambda msgid: known.get(msgid, msgid)


@lru_cache(maxsize=256)  # asked for each sentence of an answer
def choose_language(wanted: str | None, accept_language: str, default: str) -> str:
    """The reader's choice, else the first language of ``Accept-Language`` that we have, else the installation's."""
    if wanted in LANGUAGES:
        return wanted
    ranked: list[tuple[float, str]] = []
    for part in accept_language[:500].split(","):
        tag, _semi, quality = part.strip().partition(";q=")
        try:
            ranked.append((-float(quality or 1), tag.strip().lower().split("-")[0]))
        except ValueError:
            continue
    return next((tag for _q, tag in sorted(ranked, key=lambda r: r[0]) if tag in LANGUAGES), default)


def money(micros: int, currency: str, places: int | None = None) -> str:
    """``3200000`` → ``¥3.20``: exact with two to six decimals, or cut to just ``places`` (towards zero: a balance is never
    shown as more)."""
    unit = MICROS // 10**places if places is not None else 1
    text = format_amount(abs(micros) // unit * unit, 2 if places is None else places)
    return f"{'−' if micros < 0 else ''}{_SYMBOLS.get(currency, currency + ' ')}{text}"


def duration(span: timedelta | float | int | None, language: str) -> str:
    """A span in at most two units, cut down: ``3 d 4 h``, ``25 h``, ``12 min``, ``40 s``. None: it never ends."""
    gettext = translator(language)
    if span is None:
        return "∞"
    seconds = int(span.total_seconds() if isinstance(span, timedelta) else span)
    if seconds >= 10 * 365 * 86_400:
        return gettext(_("over 10 years"))
    days, hours, minutes = seconds // 86_400, seconds // 3600, seconds // 60
    if days >= 3:
        return (
            gettext(_("{days} d {hours} h")).format(days=days, hours=hours % 24) if days < 30 else gettext(_("{days} d")).format(days=days)
        )
    if hours >= 10:
        return gettext(_("{hours} h")).format(hours=hours)
    if hours >= 1:
        return gettext(_("{hours} h {minutes} min")).format(hours=hours, minutes=minutes % 60)
    if minutes >= 1:
        return gettext(_("{minutes} min")).format(minutes=minutes)
    return gettext(_("{seconds} s")).format(seconds=max(seconds, 0))


def size(count: int) -> str:
    """Bytes in binary units: ``1.2 GiB``."""
    value = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "B" or value >= 100 else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"


def exact(at: datetime) -> str:
    """A moment in full; the browser shows it in the reader's own time zone."""
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")


def ago(at: datetime, now: datetime, language: str) -> str:
    """A moment relative to now, by the rules of the language (CLDR)."""
    seconds = (at - now) // timedelta(seconds=1)
    return _relative(seconds if abs(seconds) < 60 else seconds // 60 * 60, language)


@lru_cache(maxsize=20_000)
def _relative(seconds: int, language: str) -> str:
    return str(format_timedelta(timedelta(seconds=seconds), add_direction=True, locale=language, threshold=1.2))


def time_element(at: datetime, text: str, form: str) -> Markup:
    """``form`` tells the browser how to write it: ``ago``, ``clock`` (date and minute), ``left`` (a countdown)."""
    iso = at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    title = "" if form == "clock" else f' title="{exact(at)}"'
    return Markup(f'<time datetime="{iso}" data-form="{form}"{title}>{escape(text)}</time>')


def fill_html(text: Markup, params: Mapping[str, Any]) -> Markup:
    """The text with its fields filled, each value escaped. Markup's own `format` does the same, ten times slower."""
    return Markup(str(text).format(**{key: escape(value) for key, value in params.items()}))


def _moment(value: Any) -> datetime | None:
    try:
        at = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    except ValueError:
        return None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _fill(sentence: Sentence, language: str, currency: str, *, html: bool) -> str:
    filled: dict[str, Any] = {}
    for key, value in sentence.params.items():
        moment = _moment(value) if key.endswith("_at") else None
        if isinstance(value, Sentence):
            filled[key] = _fill(value, language, currency, html=html)
        elif moment is not None:
            filled[key] = time_element(moment, exact(moment), "clock") if html else exact(moment)
        elif key.endswith("_micros") and isinstance(value, int):
            filled[key] = money(value, currency)
        elif key.endswith("_bytes") and isinstance(value, int):
            filled[key] = size(value)
        else:
            filled[key] = value
    text = translator(language)(sentence.msgid)
    try:
        return fill_html(escape(text), filled) if html else text.format(**filled)
    except (KeyError, IndexError, ValueError):
        return escape(text) if html else text


def render(sentence: Sentence, language: str, currency: str) -> str:
    """The sentence as plain text. A missing parameter leaves the sentence as it stands: it is never an error."""
    return str(_fill(sentence, language, currency, html=False))


def render_html(sentence: Sentence, language: str, currency: str) -> Markup:
    """The sentence as safe HTML: parameters escaped, times as ``<time>``."""
    return Markup(_fill(sentence, language, currency, html=True))


def render_error(error: ArkError, language: str, currency: str) -> str:
    """A refusal as plain text in the reader's language."""
    return render(Sentence(error.msgid, error.params), language, currency)
