"""The console's door to the languages, which it shares with the other services that have pages (`web.i18n`)."""

from __future__ import annotations

from ark_extensions.web.i18n import (
    LANGUAGES,
    LOCALE,
    Gettext,
    _,
    ago,
    choose_language,
    duration,
    exact,
    fill_html,
    messages,
    money,
    render,
    render_error,
    render_html,
    size,
    time_element,
    translator,
)

__all__ = [
    "LANGUAGES", "LOCALE", "Gettext", "_", "ago", "choose_language", "duration", "exact", "fill_html", "messages", "money", "render",
    "render_error", "render_html", "size", "time_element", "translator",
]  # fmt: skip
