"""What a user tells the platform of themselves: where notices are mailed, and which."""

from __future__ import annotations

from ark_extensions.console.pages.base import Page
from ark_extensions.usecases import users


class Account(Page):
    section = "account"

    async def get(self) -> None:
        await self.page("account.html", user=await self.use(users.get_user, name=self.me), mails=self.console_settings.mail is not None)
