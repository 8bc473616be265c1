"""SSH keys: the list, how to add one, what to put on one's computer; and the SSH column of the workspace list."""

from __future__ import annotations

from dataclasses import dataclass

from ark_extensions.console.pages.base import Page
from ark_extensions.console.ssh_gateway import gateway
from ark_extensions.domain.ssh_access import Gateway, access, jump
from ark_extensions.usecases import ssh_keys
from ark_extensions.web.address import address_of


@dataclass(frozen=True)
class SshColumn:
    """What the rows of the list need: they show a command, or the way to one's first key."""

    owner: str
    gateway: Gateway
    has_key: bool

    def command(self, workspace: str) -> str:
        return access(self.owner, workspace, self.gateway, None).command


async def ssh_column(page: Page) -> SshColumn | None:
    """None where workspaces take no SSH."""
    found = gateway(page.console_settings, address_of(page.request, page.console_settings))
    if found is None:
        return None
    return SshColumn(page.me, found, bool(await page.use(ssh_keys.list_keys, user=page.me)))


class Keys(Page):
    section = "ssh-keys"

    async def get(self) -> None:
        found = gateway(self.console_settings, address_of(self.request, self.console_settings))
        await self.page(
            "ssh_keys.html",
            keys=await self.use(ssh_keys.list_keys, user=self.me),
            gateway=found,
            account=await self.use(ssh_keys.account, user=self.me),
            jump=jump(self.me, found) if found else "",
        )


class DeleteDialog(Page):
    """Asks before a key, and what it has opened, is ended."""

    async def get(self, key_id: str) -> None:
        mine = {key.id: key for key in await self.use(ssh_keys.list_keys, user=self.me)}
        self.fragment("_ssh_delete.html", key=mine.get(key_id))
