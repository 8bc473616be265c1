"""The left navigation, the same on the pages of every service. A path is the console's own, or a whole one of another service."""

from __future__ import annotations

from ark_extensions.web.i18n import _

#: (section, path, icon, word): the left navigation, only what exists
NAVIGATION = (
    ("marketplace", "/marketplace", "shop", _("Marketplace")),
    ("workspaces", "/workspaces", "pc-display", _("Workspaces")),
    ("assets", "/assets", "cpu", _("My compute")),
    ("disks", "/disks", "device-hdd", _("Data disks")),
    ("netdisk", "/services/netdisk/", "folder2-open", _("Netdisk")),
    ("datasets", "/datasets", "collection", _("Datasets")),
    ("models", "/models", "box-seam", _("Models")),
    ("wallet", "/wallet", "wallet2", _("Wallet")),
    ("recharge", "/recharge", "plus-circle", _("Recharge")),
    ("bills", "/bills", "receipt", _("Bills")),
    ("ssh-keys", "/ssh-keys", "key", _("SSH keys")),
)
ADMIN_NAVIGATION = (
    ("admin-users", "/admin/users", "people", _("Users")),
    ("admin-money", "/admin/money", "cash-stack", _("Money")),
    ("admin-workspaces", "/admin/workspaces", "hdd-stack", _("All workspaces")),
)

#: the section that begins a group → the group's name
GROUPS = {"assets": _("My assets"), "wallet": _("Billing"), "admin-users": _("Administration")}
GROUPED = frozenset({"assets", "disks", "wallet", "recharge", "bills"})
