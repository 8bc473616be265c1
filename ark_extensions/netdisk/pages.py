"""The page: one frame around what its scripts fetch from the API.

The frame, navigation and languages come from `web`; its style sheet and scripts are the console's, by their addresses.
"""

from __future__ import annotations

import hashlib
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup, escape
from tornado.web import StaticFileHandler

from ark_extensions.domain.errors import ArkError
from ark_extensions.netdisk.auth import PREFIX
from ark_extensions.netdisk.handlers import status_of
from ark_extensions.netdisk.session import Callback, SessionHandler
from ark_extensions.netdisk.words import BROWSER_WORDS
from ark_extensions.usecases import users, wallet
from ark_extensions.web import frame, i18n
from ark_extensions.web.address import address_of
from ark_extensions.web.tokens import Unauthenticated

HERE = Path(__file__).parent
CONSOLE_FILES = HERE.parent / "console"
POLICY = "; ".join(
    (
        "default-src 'self'", "script-src 'self'", "style-src 'self'", "img-src 'self' data:", "connect-src 'self'", "frame-src 'self'",
        "object-src 'none'", "base-uri 'none'", "form-action 'self'", "frame-ancestors 'none'",
    )
)  # fmt: skip


@cache
def asset(path: str) -> str:
    """The address of a static file, ours or the console's, with its content's hash."""
    for root, prefix in ((HERE / "static", PREFIX), (CONSOLE_FILES / "static", frame.CONSOLE)):
        if (root / path).exists():
            return f"{prefix}/static/{path}?v={hashlib.sha256((root / path).read_bytes()).hexdigest()[:12]}"
    return f"{PREFIX}/static/{path}"


@cache
def environment(language: str, currency: str) -> Environment:
    env = Environment(
        loader=frame.loader(HERE / "templates"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    gettext = i18n.translator(language)

    def translate(msgid: str, **params: Any) -> Markup:
        text = escape(gettext(msgid))
        return i18n.fill_html(text, params) if params else text

    env.globals.update(
        _=translate, netdisk=PREFIX, asset=asset, preferences_at=f"{PREFIX}/preferences",
        words={key: gettext(text) for key, text in BROWSER_WORDS.items()},
    )  # fmt: skip
    frame.bind(env, language, currency)
    return env


class Page(SessionHandler):
    """The page itself. Who has no session is sent to sign in."""

    async def prepare(self) -> None:
        try:
            await super().prepare()
        except Unauthenticated:
            self.redirect(self.get_login_url())

    async def get(self) -> None:
        await self.learn_language()
        now: datetime = self.office.clock()
        found = await self.office.use(wallet.wallet, user=self.caller.user, now=now)
        token = self.xsrf_token
        html = environment(self.language, self.office.settings.currency).get_template("netdisk.html").render(
            **frame.around(found, admin=self.caller.admin), section="netdisk", here=self.request.uri or "", now=now,
            theme=frame.known_theme(self.get_cookie("ark-theme", "")), xsrf=token.decode() if isinstance(token, bytes) else token,
            me=self.caller.user, admin=self.caller.admin, trash_days=self.office.settings.netdisk_trash_days,
            webdav=f"{address_of(self.request, self.office.settings)}{PREFIX}/dav/",
        )  # fmt: skip
        self.set_header("Content-Security-Policy", POLICY)
        self.set_header("Referrer-Policy", "same-origin")
        self.set_header("Content-Type", "text/html; charset=utf-8")
        self.finish(html)

    def answer_problem(self, error: ArkError, status: int | None = None) -> None:
        self.set_status(status or status_of(error))
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.write(self.say_error(error) + "\n")


class Preferences(SessionHandler):
    """Language and theme: the frame's own form."""

    async def post(self) -> None:
        language, theme = self.get_body_argument("language", ""), self.get_body_argument("theme", "")
        if language in i18n.LANGUAGES:
            self.set_cookie("ark-language", language, path="/", expires_days=365, samesite="Lax")
            await self.office.use(users.set_language, user=self.caller.user, language=language)
            self.application.settings["languages"][self.caller.user] = language
        if theme in frame.THEMES:
            self.set_cookie("ark-theme", theme, path="/", expires_days=365, samesite="Lax")
        self.redirect(f"{PREFIX}/", status=303)


class Asset(StaticFileHandler):
    def set_default_headers(self) -> None:
        self.clear_header("Server")
        self.set_header("X-Content-Type-Options", "nosniff")
        self.set_header("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")

    def set_extra_headers(self, path: str) -> None:
        age = 365 * 86_400 if self.get_query_argument("v", "") else 3600
        self.set_header("Cache-Control", f"public, max-age={age}")


ROUTES: list[Any] = [
    (rf"{PREFIX}/?", Page),
    (rf"{PREFIX}/oauth_callback", Callback),
    (rf"{PREFIX}/preferences", Preferences),
    (rf"{PREFIX}/static/(.*)", Asset, {"path": str(HERE / "static")}),
]
