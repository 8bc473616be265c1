"""The administrators' pages: users and their credit, everybody's workspaces."""

from __future__ import annotations

from ark_extensions.console.pages.base import Page
from ark_extensions.console.pages.workspaces import ordered
from ark_extensions.domain.errors import Forbidden
from ark_extensions.domain.workspaces import ACTIVE
from ark_extensions.usecases import users, wallet, workspaces


class AdminPage(Page):
    """Refuses everybody else before anything is read."""

    async def prepare(self) -> None:
        await super().prepare()
        if not self._finished and not self.principal.admin:
            raise Forbidden("This page is for administrators.")


class Users(AdminPage):
    section = "admin-users"

    async def get(self) -> None:
        await self.page("admin_users.html", users=await self.use(users.list_users))


class CreditDialog(AdminPage):
    """The balance of one user and the form that credits it."""

    async def get(self, name: str) -> None:
        user = await self.use(users.get_user, name=name)
        found = await self.use(wallet.wallet, user=name, now=self.now) if user else None
        self.fragment("_credit.html", user=user, balance=found.balance_micros if found else 0)


class AllWorkspaces(AdminPage):
    section = "admin-workspaces"

    async def get(self) -> None:
        every = ordered(list(await self.use(workspaces.list_workspaces, owner=None, now=self.now, include_released=False)))
        only = self.get_query_argument("active", "") == "true"
        await self.page("admin_workspaces.html", every=[v for v in every if v.state in ACTIVE] if only else every, only=only, ACTIVE=ACTIVE)
