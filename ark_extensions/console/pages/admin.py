"""The administrators' pages: users, each user's wallet and what can be done with it, everybody's workspaces."""

from __future__ import annotations

from ark_extensions.console.pages.base import Page
from ark_extensions.console.pages.money import movements_of
from ark_extensions.domain.errors import Forbidden, NotFound
from ark_extensions.domain.listing import place
from ark_extensions.domain.workspaces import ACTIVE
from ark_extensions.usecases import audit, users, wallet, workspaces
from ark_extensions.web.frame import level

#: what an operator does with a wallet; each asks for a reason
ACTS = ("credit", "refund", "correct", "freeze")
ACTS_SHOWN = 20


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


class User(AdminPage):
    """A user's wallet as they see it, with the acts that an operator has."""

    section = "admin-users"

    async def get(self, name: str) -> None:
        user = await self.use(users.get_user, name=name)
        if user is None:
            raise NotFound("There is no user {name}.", name=name[:60])
        older = f"admin/users/{name}"
        movements = {**await movements_of(self, name, older), "refundable": True, "user": user}
        if self.get_query_argument("before", ""):
            self.fragment("_movements.html", **movements)
            return
        purse = await self.use(wallet.wallet, user=name, now=self.now)
        acts = await self.use(audit.list_acts, subject=name, limit=ACTS_SHOWN)
        await self.page("admin_user.html", purse=purse, purse_level=level(purse), acts=acts.items, next_act=None, **movements)


class ActDialog(AdminPage):
    """The balance of one user and the form of an act."""

    async def get(self, name: str, act: str) -> None:
        user = await self.use(users.get_user, name=name)
        if act not in ACTS or user is None:
            raise NotFound("There is no user {name}.", name=name[:60])
        found = await self.use(wallet.wallet, user=name, now=self.now)
        paid = max(found.balance_micros - sum(micros for micros, _ in found.credits), 0)
        self.fragment(
            "_act.html", act=act, user=name, balance=found.balance_micros, paid=paid, frozen=found.frozen_reason,
            subject=self.get_query_argument("subject", "")[:200], recharge=None, reference="",
        )  # fmt: skip


class AllWorkspaces(AdminPage):
    section = "admin-workspaces"

    async def get(self) -> None:
        every = sorted(await self.use(workspaces.list_workspaces, owner=None, now=self.now, include_released=False), key=place)
        only = self.get_query_argument("active", "") == "true"
        await self.page("admin_workspaces.html", every=[v for v in every if v.state in ACTIVE] if only else every, only=only, ACTIVE=ACTIVE)
