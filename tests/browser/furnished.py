"""An installation with something in every list, and markup in every text that somebody may write.

What a name or a reason says is ``HOSTILE``: a page that does not show it as text runs a script, which the tests notice.
"""

from __future__ import annotations

import base64
import secrets
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from tests.platform import Answer, Platform, wait_until

#: closes an attribute and a tag, and tells the page that it ran
HOSTILE = "\"><img src=x onerror='window.ran=1'><script>window.ran=1</script>"
FILE = "\"><img src=x onerror='window.ran=1'>.txt"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGSpTGtQ7XhJ0l2Jd8YV0kzE5m1sJb3y0m1o6c3pXh7d somebody@laptop"
NETDISK = "/services/netdisk/api/v1"


@dataclass(frozen=True)
class Furnished:
    """What is there: names of workspaces in their states, ids of the rest."""

    running: str
    stopped: str
    released: str
    key: str
    asset: str
    monthly: str
    recharge: str
    frozen: str


def made(answer: Answer) -> Any:
    assert answer.status in (200, 201, 202, 204), answer.text
    return answer.json


def furnish(platform: Platform) -> Furnished:
    """As the administrator, whose pages are all there are."""
    offers = made(platform.api("GET", "/offers"))["items"]
    small = min((o for o in offers if o["plan"] == "payg"), key=lambda o: o["vcpu"])["id"]
    monthly = min((o for o in offers if o["plan"] == "monthly"), key=lambda o: o["vcpu"])["id"]
    frozen = f"frozen{secrets.token_hex(3)}"
    platform.add_user(frozen)
    _write_about_people(platform, frozen)
    running, stopped, released = _workspaces(platform, small)
    asset = made(platform.api("POST", "/assets", {"request_id": secrets.token_hex(8), "offer": monthly, "months": 1}))["id"]
    key = made(platform.api("POST", "/ssh-keys", {"public_key": KEY, "name": HOSTILE}))["id"]
    _netdisk(platform)
    recharge = made(_once(platform, "/wallet/recharges", provider="manual", amount="20"))["id"]
    return Furnished(running, stopped, released, str(key), asset, monthly, recharge, frozen)


def _once(platform: Platform, path: str, *, user: str = "admin", **body: Any) -> Answer:
    return platform.api("POST", path, {"request_id": secrets.token_hex(8), **body}, user=user)


def _write_about_people(platform: Platform, frozen: str) -> None:
    """Acts, vouchers, a price to come: each with a reason."""
    made(_once(platform, "/admin/users/admin/credit", amount="500", reason=HOSTILE))
    batch: dict[str, Any] = {"amount": "1", "count": 2, "expires_at": "2099-01-01T00:00:00Z", "reason": HOSTILE}
    made(platform.api("POST", "/wallet/vouchers", {"code": made(_once(platform, "/admin/vouchers", **batch))["codes"][0]}))
    made(platform.api("POST", f"/admin/users/{frozen}/freeze", {"frozen": True, "reason": HOSTILE}))
    made(_once(platform, "/wallet/recharges", user=frozen, provider="manual", amount="30"))
    price = {"subject": "netdisk", "price": "0.01", "valid_from": "2098-01-01T00:00:00Z", "reason": HOSTILE}
    made(platform.api("POST", "/admin/prices", price))


def _workspaces(platform: Platform, offer: str) -> tuple[str, str, str]:
    """One that runs, one that has stopped, one that was released."""
    image = made(platform.api("GET", "/images"))["items"][0]["id"]
    more = {"offer": offer, "image": image, "display_name": HOSTILE[:60], "datasets": ["digits"], "data_disk_gib": 200}
    stopped, released = (made(_once(platform, "/workspaces", **more))["name"] for _ in range(2))
    for name in (stopped, released):
        reach(platform, name, "running")
        made(platform.api("POST", f"/workspaces/{name}/stop", {}))
    for name in (stopped, released):
        reach(platform, name, "stopped")
    made(platform.api("DELETE", f"/workspaces/{released}", {"confirm": released}))
    running = made(_once(platform, "/workspaces", **more, auto_stop={"after_minutes": 120}, budget={"run": "5", "total": "20"}))["name"]
    made(platform.api("PATCH", f"/workspaces/{running}", {"display_name": f"1{HOSTILE[:59]}"}))  # an event that tells both names
    reach(platform, running, "running")
    return running, stopped, released


def reach(platform: Platform, name: str, state: str) -> None:
    wait_until(lambda: platform.api("GET", f"/workspaces/{name}").json["state"] == state, seconds=90, message=f"{name} is not {state}")


def _netdisk(platform: Platform) -> None:
    """Files, one of them in the trash, an upload that was not finished."""
    for path in (FILE, f"2{FILE}"):
        plain = {"Content-Type": "application/octet-stream"}
        made(platform.request("PUT", f"{NETDISK}/files/{quote(path)}", b"text", user="admin", headers=plain))
    made(platform.request("POST", f"{NETDISK}/trash", {"paths": [f"2{FILE}"]}, user="admin"))
    name = base64.b64encode(f"3{FILE}".encode()).decode()
    begun = {"Tus-Resumable": "1.0.0", "Upload-Length": "10", "Upload-Metadata": f"path {name}"}
    made(platform.request("POST", "/services/netdisk/tus/", b"", user="admin", headers=begun))
