"""The way in, the part of the frame that changes (balance and notices), and the reader's language and look."""

from __future__ import annotations

from ark_extensions.console.pages import look
from ark_extensions.console.pages.base import Page
from ark_extensions.domain.errors import NotFound
from ark_extensions.usecases import wallet, workspace_list
from ark_extensions.web.frame import THEMES, level
from ark_extensions.web.i18n import LANGUAGES


class Home(Page):
    """Who has nothing yet begins in the marketplace; who has workspaces comes to see them."""

    async def get(self) -> None:
        mine = await self.use(workspace_list.has_workspaces, owner=self.me)
        self.redirect(f"{look.PREFIX}/{'workspaces' if mine else 'marketplace'}")


class Frame(Page):
    """The balance and the notices, fetched again every minute and after each write."""

    async def get(self) -> None:
        found = await self.use(wallet.wallet, user=self.me, now=self.now)
        self.fragment("_frame.html", wallet=found, wallet_level=level(found), notices=await self.notices(found))


class Preferences(Page):
    """Language and theme: an ordinary form, so that it works without any script."""

    async def post(self) -> None:
        language, theme = self.get_body_argument("language", ""), self.get_body_argument("theme", "")
        if language in LANGUAGES:
            self.remember("language", language)
            await self.keep_language(language)
        if theme in THEMES:
            self.remember("theme", theme)
        self.redirect(safe_return(self.get_body_argument("here", "")), status=303)


def safe_return(address: str) -> str:
    """``address``, if it is one of our own pages; never another site."""
    inside = address.startswith(f"{look.PREFIX}/") and "\\" not in address and address.isprintable() and len(address) < 2000
    return address if inside else f"{look.PREFIX}/"


class Nothing(Page):
    """Every other address: a page that says so, signed in or not."""

    async def prepare(self) -> None:
        raise NotFound("There is nothing at this address.")
