"""What every page shares: who reads it, the frame around it (balance, navigation, notices), cookies that remember a choice.

Promises: a page calls one use case for its content and one for the wallet in the frame, however much it shows; a page
never writes, but for the reader's language and look.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from markupsafe import Markup

from ark_extensions.console.handlers import ConsoleHandler
from ark_extensions.console.i18n import _
from ark_extensions.console.pages import look
from ark_extensions.domain.errors import ArkError
from ark_extensions.usecases import wallet as wallet_usecases
from ark_extensions.usecases.views import Sentence, WalletView, WorkspaceView

THEMES = ("auto", "light", "dark")
AMBER = timedelta(hours=24)
RED = timedelta(hours=3)
SOON = timedelta(minutes=15)

#: (section, path, icon, word): the left navigation, only what exists
NAVIGATION = (
    ("marketplace", "/marketplace", "shop", _("Marketplace")),
    ("workspaces", "/workspaces", "pc-display", _("Workspaces")),
    ("datasets", "/datasets", "collection", _("Datasets")),
    ("models", "/models", "box-seam", _("Models")),
    ("wallet", "/wallet", "wallet2", _("Wallet")),
    ("bills", "/bills", "receipt", _("Bills")),
)
ADMIN_NAVIGATION = (
    ("admin-users", "/admin/users", "people", _("Users")),
    ("admin-workspaces", "/admin/workspaces", "hdd-stack", _("All workspaces")),
)


def level(wallet: WalletView) -> str:
    """How urgent the balance is: ``""``, ``amber`` (under a day) or ``red`` (under three hours, or nothing left)."""
    if wallet.runway is None:
        return "red" if wallet.balance_micros <= 0 else ""
    return "red" if wallet.runway < RED else "amber" if wallet.runway < AMBER else ""


def notices(wallet: WalletView, workspaces: list[WorkspaceView], now: datetime) -> list[tuple[str, Sentence]]:
    """(tone, sentence) of what needs the reader now."""
    found: list[tuple[str, Sentence]] = []
    urgency = level(wallet)
    if wallet.runway is not None and urgency == "red":
        found.append(("danger", look.say(
            "The balance lasts until {empty_at}. Then your workspaces are stopped; their files stay. "
                    "Ask an administrator for credit, or stop what you do not need.",
            empty_at=(now + wallet.runway).isoformat())))  # fmt: skip
    elif urgency == "red":
        found.append(
            (
                "danger",
                look.say("The balance is used up. Ask an administrator for credit, then start your workspaces again. Nothing was deleted."),
            )
        )
    elif wallet.runway is not None and urgency == "amber":
        found.append(("warning", look.say("The balance lasts until {empty_at}.", empty_at=(now + wallet.runway).isoformat())))
    for workspace in workspaces:
        at = workspace.auto_stop_at
        if at is not None and workspace.state == "running" and timedelta() < at - now <= SOON:
            found.append(
                (
                    "warning",
                    look.say(
                        "{name} stops at {stop_at}. Extend it in its row if you still need it.",
                        name=workspace.display_name,
                        stop_at=at.isoformat(),
                    ),
                )
            )
    return found[:3]


class Page(ConsoleHandler):
    """A page of the console."""

    section = ""

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
        self.set_cookie(f"ark-{name}", value, path=look.PREFIX, expires_days=365, samesite="Lax")

    @property
    def theme(self) -> str:
        kept = self.get_cookie("ark-theme", "")
        return kept if kept in THEMES else THEMES[0]

    def render_text(self, template: str, **context: Any) -> str:
        env = look.environment(self.language, self.console_settings.currency)
        return env.get_template(template).render(now=self.now, me=self.me, admin=self.principal.admin, **context)

    async def page(self, template: str, *, workspaces: list[WorkspaceView] | None = None, **context: Any) -> None:
        """Answer with a whole page: the frame around ``template``."""
        now = self.now
        wallet = await self.use(wallet_usecases.wallet, user=self.me, now=now)
        entries = NAVIGATION + (ADMIN_NAVIGATION if self.principal.admin else ())
        html = self.render_text(
            template, wallet=wallet, wallet_level=level(wallet), notices=notices(wallet, workspaces or [], now), theme=self.theme,
            navigation=entries, section=self.section, xsrf=self.token_for_writes, here=self.request.uri or "", workspaces=workspaces,
            **context,
        )  # fmt: skip
        self.set_header("Content-Type", "text/html; charset=utf-8")
        self.finish(html)

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
        sentence = look.error_sentence(problem, status, self.language)
        self.set_header("Content-Type", "text/html; charset=utf-8")
        if self.request.headers.get("HX-Request"):
            self.finish(Markup('<p class="field-error">{}</p>').format(sentence))
            return
        env = look.environment(self.language, self.console_settings.currency)
        self.finish(env.get_template("error.html").render(status=status, sentence=sentence, theme=self.theme, now=self.now))
