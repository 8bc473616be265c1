"""All routes of the API in one table."""

from __future__ import annotations

from ark_extensions.console.api import admin, live, market, me, money, netdisk, operators, purse, ssh, workspaces
from ark_extensions.console.api.routes import Route, by_path

PREFIX = "/services/console/api/v1"
ROUTES: tuple[Route, ...] = (
    *market.ROUTES,
    *workspaces.ROUTES,
    *live.ROUTES,
    *money.ROUTES,
    *me.ROUTES,
    *purse.ROUTES,
    *netdisk.ROUTES,
    *ssh.ROUTES,
    *admin.ROUTES,
    *operators.ROUTES,
)
TABLE = by_path(ROUTES)
