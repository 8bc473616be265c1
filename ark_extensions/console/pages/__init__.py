"""The console's pages. `ROUTES`: (pattern under ``/services/console/``, handler), the one for unknown addresses last."""

from __future__ import annotations

from ark_extensions.console.pages import account, admin, assets, bills, catalog, create, frame, market, money, operators, ssh, workspaces

NAME = r"([a-z0-9-]{1,30})"
USER = r"([^/]{1,255})"
ID = r"([A-Za-z0-9-]{1,64})"

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
    (r"recharge", money.Recharge),
    (r"bills", bills.Bills),
    (r"bills/lines", bills.BillLines),
    (r"bills\.csv", bills.BillsFile),
    (r"assets", assets.MyCompute),
    (r"assets/buy", assets.BuyDialog),
    (rf"assets/{ID}/renew", assets.RenewDialog),
    (rf"assets/{ID}/conversion", assets.ConvertDialog),
    (r"disks", assets.Disks),
    (r"account", account.Account),
    (r"ssh-keys", ssh.Keys),
    (rf"ssh-keys/{ID}/delete", ssh.DeleteDialog),
    (r"admin/users", admin.Users),
    (rf"admin/users/{USER}", admin.User),
    (rf"admin/users/{USER}/act/([a-z]{{1,10}})", admin.ActDialog),
    (r"admin/money", operators.Revenue),
    (r"admin/money/books", operators.Books),
    (r"admin/money/recharges", operators.Recharges),
    (rf"admin/money/recharges/{ID}/confirm", operators.ConfirmDialog),
    (r"admin/money/vouchers", operators.Vouchers),
    (r"admin/money/prices", operators.Prices),
    (r"admin/money/prices/change", operators.PriceDialog),
    (r"admin/money/acts", operators.Acts),
    (r"admin/workspaces", admin.AllWorkspaces),
    (r"(?:.*)", frame.Nothing),
]
