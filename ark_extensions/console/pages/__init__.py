"""The console's pages. `ROUTES`: (pattern under ``/services/console/``, handler), the one for unknown addresses last."""

from __future__ import annotations

from ark_extensions.console.pages import admin, catalog, create, frame, market, money, workspaces

NAME = r"([a-z0-9-]{1,30})"
USER = r"([^/]{1,255})"

ROUTES = [
    (r"", frame.Home),
    (r"frame", frame.Frame),
    (r"preferences", frame.Preferences),
    (r"marketplace", market.Marketplace),
    (r"workspaces", workspaces.Workspaces),
    (r"workspaces/new", create.Create),
    (r"workspaces/rows", workspaces.Rows),
    (rf"workspaces/{NAME}/row", workspaces.Row),
    (rf"workspaces/{NAME}/dialog/([a-z-]{{1,20}})", workspaces.Dialog),
    (r"events", workspaces.Events),
    (r"datasets", catalog.Datasets),
    (r"models", catalog.Models),
    (r"wallet", money.Wallet),
    (r"bills", money.Bills),
    (r"bills\.csv", money.BillsFile),
    (r"admin/users", admin.Users),
    (rf"admin/users/{USER}/credit", admin.CreditDialog),
    (r"admin/workspaces", admin.AllWorkspaces),
    (r"(?:.*)", frame.Nothing),
]
