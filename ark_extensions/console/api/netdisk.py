"""The netdisk in the platform's API: what is used, what it costs, and where programs reach it. Files have their own API, at the service."""

from __future__ import annotations

from ark_extensions.console.api import answers as a
from ark_extensions.console.api.routes import Call, Route
from ark_extensions.console.api.shapes import money
from ark_extensions.domain.files import billable_bytes
from ark_extensions.usecases.netdisk import netdisk_view
from ark_extensions.usecases.netdisk_charges import netdisk_price

DAV = "/services/netdisk/dav/"


class Netdisk(a.Output):
    """``price``: of a GiB beyond the free part, a day. ``rclone_config``: the command, in which TOKEN stands for a personal token."""

    used_bytes: int
    used_files: int
    free_quota_bytes: int
    limit_bytes: int
    billable_bytes: int
    price: a.Money | None
    webdav_url: str
    rclone_config: str


async def netdisk(call: Call) -> Netdisk:
    settings = call.ark.settings
    view = await call.use(netdisk_view, owner=call.user, defaults=settings.netdisk_limits)
    price = await call.use(netdisk_price, now=call.handler.now)
    address = f"{call.base_url}{DAV}"
    return Netdisk(
        used_bytes=view.usage.bytes,
        used_files=view.usage.files,
        free_quota_bytes=view.limits.free_bytes,
        limit_bytes=view.limits.bytes,
        billable_bytes=billable_bytes(view.usage.bytes, view.limits),
        price=None if price is None else money(price, call.currency),
        webdav_url=address,
        rclone_config=(
            f"rclone config create ark webdav url={address} vendor=owncloud user={call.user} pass=TOKEN pacer_min_sleep=0 --obscure"
        ),
    )


ROUTES = (Route("GET", "/netdisk", "What your netdisk takes and costs, and where programs reach it", netdisk, Netdisk),)
