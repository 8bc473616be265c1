"""Templates and how values look in them: one compiled environment for each language, autoescaping on.

Promises: templates are compiled once; every value a user typed is escaped; a static file's address changes when its
content does, so that browsers may keep it for ever.
"""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup, escape

from ark_extensions.console.pages import words
from ark_extensions.console.pages.folding import FoldingEnvironment
from ark_extensions.console.pages.words import BROWSER_WORDS, ERROR_SENTENCES
from ark_extensions.domain.errors import ArkError
from ark_extensions.domain.money import format_amount
from ark_extensions.usecases.views import Sentence
from ark_extensions.web import frame, i18n

HERE = Path(__file__).parent.parent
PREFIX = frame.CONSOLE


@cache
def asset(path: str) -> str:
    """The address of one of our static files, with its content's hash."""
    digest = hashlib.sha256((HERE / "static" / path).read_bytes()).hexdigest()[:12]
    return f"{PREFIX}/static/{path}?v={digest}"


@cache
def browser_words(language: str) -> dict[str, str]:
    """The sentences that our scripts say."""
    gettext = i18n.translator(language)
    return {key: gettext(text) for key, text in BROWSER_WORDS.items()}


@cache
def environment(language: str, currency: str) -> Environment:
    """The templates in one language; currency and language are bound into the filters."""
    env = FoldingEnvironment(
        loader=frame.loader(HERE / "templates"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
        auto_reload=False,
    )  # fmt: skip
    gettext = i18n.translator(language)

    @cache
    def escaped(msgid: str) -> Markup:
        return escape(gettext(msgid))

    def translate(msgid: str, **params: Any) -> Markup:
        return i18n.fill_html(escaped(msgid), params) if params else escaped(msgid)

    def named(texts: dict[str, str]) -> Any:
        table = {key: gettext(text) for key, text in texts.items()}
        return lambda key: table.get(str(key), str(key))

    def ago(at: datetime, now: datetime) -> Markup:
        return i18n.time_element(at, i18n.ago(at, now, language), "ago")

    def left(at: datetime, now: datetime) -> Markup:
        return i18n.time_element(at, i18n.duration(max(at - now, timedelta()), language), "left")

    frame.bind(env, language, currency)
    env.globals.update(
        _=translate, asset=asset, preferences_at=f"{PREFIX}/preferences", words=browser_words(language),
        state_word=named(words.STATES), reason_word=named(words.CLOSE_REASONS), kind_word=named(words.KINDS),
        actor_word=named(words.ACTORS), memo_word=named(words.MEMOS), provider_word=named(words.PROVIDERS),
        recharge_word=named(words.RECHARGE_STATES), act_word=named(words.ACTS), place_word=named(words.PLACES),
    )  # fmt: skip
    env.filters.update(
        size=i18n.size,
        clock=lambda at: i18n.time_element(at, i18n.exact(at), "clock"),
        moment=lambda text: i18n.time_element(at := datetime.fromisoformat(text), i18n.exact(at), "clock"),
        ago=ago,
        left=left,
        say=lambda sentence: i18n.render_html(sentence, language, currency),
        user_path=lambda name: quote(name, safe="@~"),
        amount=lambda micros: "" if micros is None else format_amount(micros),
        hms=lambda seconds: f"{seconds // 3600}:{seconds // 60 % 60:02d}:{seconds % 60:02d}",
        memory=lambda mib: f"{mib / 1024:g} GiB",
    )
    return env


def error_sentence(error: ArkError | None, status: int, language: str, currency: str) -> str:
    """What an error page says: the refusal's own sentence, else one for the status; never what the program said."""
    if error is not None and status not in (404, 500):
        return i18n.render_error(error, language, currency)
    return i18n.translator(language)(ERROR_SENTENCES.get(status, ERROR_SENTENCES[500 if status >= 500 else 400]))


def say(text: str, **params: Any) -> Sentence:
    """A sentence of a page's own (a notice), in the form of the use cases'."""
    return Sentence(text, params)
