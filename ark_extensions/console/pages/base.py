"""What every page shares: who reads it, the frame around it (balance, navigation, notices), cookies that remember a choice.

Promises: the frame costs a page three small queries (wallet, notices, stops that are near), however much it shows; a page
never writes, but for the reader's language and look.
"""

from __future__ import annotations

from typing import Any

from markupsafe import Markup

from ark_extensions.console.handlers import ConsoleHandler
from ark_extensions.console.pages import look
from ark_extensions.console.pages.notices import SOON, Notice, notices, told
from ark_extensions.domain.errors import ArkError
from ark_extensions.usecases import notices as notice_usecases
from ark_extensions.usecases import users, workspace_list
from ark_extensions.usecases import wallet as wallet_usecases
from ark_extensions.usecases.views import WalletView
from ark_extensions.web.frame import around, known_theme


class Page(ConsoleHandler):
    """A page of the console."""

    section = ""

    async def prepare(self) -> None:
        """The language of the first page that somebody sees is theirs until they choose one: mails and JupyterLab use it too."""
        await super().prepare()
        if not self._finished and self.ark.languages.get(self.me) is None:
            await self.keep_language(self.language)

    async def keep_language(self, language: str) -> None:
        await self.use(users.set_language, user=self.me, language=language)
        self.ark.languages[self.me] = language

    @property
    def me(self) -> str:
        return self.principal.user

    def choice(self, name: str, allowed: tuple[str, ...]) -> str:
        """A remembered choice: the query's, which is then kept in a cookie, else the cookie's, else the first allowed."""
        wanted = self.get_query_argument(name, "")
        if wanted in allowed:
            self.remember(name, wanted)
            return wanted
        kept = self.get_cookie(f"ark-{name}", "")
        return kept if kept in allowed else allowed[0]

    def remember(self, name: str, value: str) -> None:
        self.set_cookie(f"ark-{name}", value, path="/", expires_days=365, samesite="Lax")

    @property
    def theme(self) -> str:
        return known_theme(self.get_cookie("ark-theme", ""))

    def render_text(self, template: str, **context: Any) -> str:
        env = look.environment(self.language, self.console_settings.currency)
        return env.get_template(template).render(now=self.now, me=self.me, admin=self.principal.admin, **context)

    async def page(self, template: str, **context: Any) -> None:
        """Answer with a whole page: the frame around ``template``."""
        wallet = await self.use(wallet_usecases.wallet, user=self.me, now=self.now)
        html = self.render_text(
            template, **around(wallet, admin=self.principal.admin), notices=await self.notices(wallet), theme=self.theme,
            section=self.section, xsrf=self.token_for_writes, here=self.request.uri or "", **context,
        )  # fmt: skip
        self.set_header("Content-Type", "text/html; charset=utf-8")
        self.finish(html)

    async def notices(self, wallet: WalletView) -> list[Notice]:
        """What stands under the top bar."""
        stored = await self.use(notice_usecases.list_notices, owner=self.me)
        soon = await self.use(workspace_list.stops_soon, owner=self.me, now=self.now, within=SOON)
        return notices(wallet, soon, self.now) + told(stored)

    def fragment(self, template: str, **context: Any) -> None:
        """Answer with a part of a page."""
        self.set_header("Content-Type", "text/html; charset=utf-8")
        self.set_header("Cache-Control", "no-store")
        self.finish(self.render_text(template, **context))

    @property
    def token_for_writes(self) -> str:
        token = self.xsrf_token
        return token.decode() if isinstance(token, bytes) else str(token)

    def show_problem(self, problem: ArkError, status: int) -> None:
        """403, 404, 500: a page that says what to do next; a part of a page says it in one line."""
        sentence = look.error_sentence(problem, status, self.language, self.console_settings.currency)
        self.set_header("Content-Type", "text/html; charset=utf-8")
        env = look.environment(self.language, self.console_settings.currency)
        if self.request.headers.get("HX-Target") == "dialog-body":
            self.finish(env.get_template("_refusal.html").render(sentence=sentence))
            return
        if self.request.headers.get("HX-Request"):
            self.finish(Markup('<p class="field-error">{}</p>').format(sentence))
            return
        self.finish(env.get_template("error.html").render(status=status, sentence=sentence, theme=self.theme, now=self.now))
