"""Who may call what: every address of the console × every kind of caller, made from the tables of routes.

`API` and `PAGES` say what is right, apart from the code; an address without a row here fails the suite, and so does a row
without an address. A route's rights come before its input is read: a caller who may gets as far as a refused field (422).
"""

from __future__ import annotations

import time
from typing import Any

import pytest

from ark_extensions.console.api.table import ROUTES
from ark_extensions.console.app import make_app
from ark_extensions.console.pages import ROUTES as PAGE_ROUTES
from ark_extensions.hub import Hub
from tests.console_stage import ADMIN, Answer, Browser, Stage, ask, stage

__all__ = ["stage"]

ACCOUNT, WORKSPACE, ADMINS, ANYBODY = "account", "workspace", "admins", "anybody"
ORDER = {"offer": "cpu-1", "image": "python-cpu"}
LINE = {"reason": "a reason", "request_id": "r1", "amount": "1.00"}

#: (method, path) → (who may call it, a body that is right)
API: dict[tuple[str, str], tuple[str, Any]] = {
    ("GET", "/offers"): (ACCOUNT, None),
    ("GET", "/images"): (ACCOUNT, None),
    ("GET", "/datasets"): (ACCOUNT, None),
    ("GET", "/models"): (ACCOUNT, None),
    ("GET", "/data-disks"): (ACCOUNT, None),
    ("POST", "/quotes"): (ACCOUNT, ORDER),
    ("POST", "/workspaces"): (ACCOUNT, {**ORDER, "request_id": "r1"}),
    ("GET", "/workspaces"): (ACCOUNT, None),
    ("GET", "/workspaces/{name}"): (WORKSPACE, None),
    ("PATCH", "/workspaces/{name}"): (WORKSPACE, {"auto_stop": None}),
    ("DELETE", "/workspaces/{name}"): (ACCOUNT, {"confirm": "mine"}),
    ("POST", "/workspaces/{name}/start"): (ACCOUNT, {}),
    ("POST", "/workspaces/{name}/stop"): (WORKSPACE, {}),
    ("POST", "/workspaces/{name}/restore"): (ACCOUNT, {}),
    ("GET", "/workspaces/{name}/access"): (WORKSPACE, None),
    ("POST", "/workspaces/{name}/activity"): (WORKSPACE, {}),
    ("GET", "/workspaces/{name}/events"): (WORKSPACE, None),
    ("GET", "/events"): (ACCOUNT, None),
    ("GET", "/workspaces/{name}/events/stream"): (WORKSPACE, None),
    ("GET", "/events/stream"): (ACCOUNT, None),
    ("GET", "/wallet"): (ACCOUNT, None),
    ("GET", "/wallet/transactions"): (ACCOUNT, None),
    ("GET", "/bills"): (ACCOUNT, None),
    ("GET", "/bills.csv"): (ACCOUNT, None),
    ("GET", "/me"): (ACCOUNT, None),
    ("GET", "/netdisk"): (ACCOUNT, None),
    ("PATCH", "/me"): (ACCOUNT, {"language": "en"}),
    ("GET", "/admin/users"): (ADMINS, None),
    ("GET", "/admin/users/{user}/wallet"): (ADMINS, None),
    ("POST", "/admin/users/{user}/credit"): (ADMINS, LINE),
    ("GET", "/admin/workspaces"): (ADMINS, None),
    ("POST", "/admin/workspaces/{owner}/{name}/stop"): (ADMINS, {}),
    ("POST", "/admin/withdrawals"): (ADMINS, {"what": "image", "id": "nothing"}),
    ("POST", "/assets"): (ACCOUNT, {"request_id": "r1", "offer": "nothing", "months": 1}),
    ("GET", "/assets"): (ACCOUNT, None),
    ("POST", "/assets/{id}/renew"): (ACCOUNT, {"request_id": "r1", "months": 1}),
    ("PATCH", "/assets/{id}"): (ACCOUNT, {"auto_renew": True}),
    ("GET", "/assets/{id}/conversion"): (ACCOUNT, None),
    ("POST", "/assets/{id}/conversion"): (ACCOUNT, None),
    ("POST", "/workspaces/{name}/disk"): (ACCOUNT, {"data_disk_gib": 200}),
    ("GET", "/wallet/providers"): (ACCOUNT, None),
    ("POST", "/wallet/recharges"): (ACCOUNT, {"request_id": "r1", "provider": "manual", "amount": "5.00"}),
    ("GET", "/wallet/recharges"): (ACCOUNT, None),
    ("GET", "/wallet/recharges/{id}"): (ACCOUNT, None),
    ("DELETE", "/wallet/recharges/{id}"): (ACCOUNT, {}),
    ("POST", "/wallet/vouchers"): (ACCOUNT, {"code": "nothing"}),
    ("POST", "/payments/{provider}/callback"): (ANYBODY, None),
    ("GET", "/ssh-keys"): (ACCOUNT, None),
    ("POST", "/ssh-keys"): (ACCOUNT, {"public_key": "nothing"}),
    ("DELETE", "/ssh-keys/{id}"): (ACCOUNT, {}),
    ("GET", "/ssh-settings"): (ACCOUNT, None),
    ("PATCH", "/ssh-settings"): (ACCOUNT, {"start_on_connect": False}),
    ("DELETE", "/ssh-sessions"): (ACCOUNT, {}),
    ("GET", "/ssh-config"): (ACCOUNT, None),
    ("GET", "/ssh-known-hosts"): (ACCOUNT, None),
    ("DELETE", "/admin/users/{user}/ssh-sessions"): (ADMINS, {}),
    ("GET", "/admin/ssh-audit"): (ADMINS, None),
    ("GET", "/notices"): (ACCOUNT, None),
    ("DELETE", "/notices/{id}"): (ACCOUNT, {}),
    ("GET", "/bills/month"): (ACCOUNT, None),
    ("POST", "/admin/users/{user}/refund"): (ADMINS, {**LINE, "subject": "run:x"}),
    ("POST", "/admin/users/{user}/correct"): (ADMINS, LINE),
    ("POST", "/admin/users/{user}/freeze"): (ADMINS, {"frozen": False, "reason": "a reason"}),
    ("GET", "/admin/recharges"): (ADMINS, None),
    ("POST", "/admin/recharges/{id}/confirm"): (ADMINS, {"reason": "a reason"}),
    ("POST", "/admin/vouchers"): (
        ADMINS,
        {"request_id": "v1", "amount": "1.00", "count": 1, "expires_at": "2100-01-01T00:00:00Z", "reason": "a reason"},
    ),
    ("GET", "/admin/vouchers"): (ADMINS, None),
    ("GET", "/admin/prices"): (ADMINS, None),
    ("POST", "/admin/prices"): (ADMINS, {"subject": "offer:nothing", "price": "1.00", "reason": "a reason"}),
    ("GET", "/admin/revenue"): (ADMINS, None),
    ("GET", "/admin/acts"): (ADMINS, None),
    ("GET", "/admin/books"): (ADMINS, None),
    ("POST", "/admin/books/resume"): (ADMINS, {"reason": "a reason"}),
    ("GET", "/admin/metrics"): (ADMINS, None),
}

#: page pattern → (who may open it, an address, its method)
PAGES: dict[str, tuple[str, str, str]] = {
    "": (ACCOUNT, "", "GET"),
    "frame": (ACCOUNT, "frame", "GET"),
    "preferences": (ACCOUNT, "preferences", "POST"),
    "marketplace": (ACCOUNT, "marketplace", "GET"),
    "workspaces": (ACCOUNT, "workspaces", "GET"),
    "workspaces/new": (ACCOUNT, "workspaces/new", "GET"),
    "workspaces/rows": (ACCOUNT, "workspaces/rows", "GET"),
    "workspaces/([a-z0-9-]{1,30})/row": (ACCOUNT, "workspaces/mine/row", "GET"),
    "workspaces/([a-z0-9-]{1,30})/dialog/([a-z-]{1,20})": (ACCOUNT, "workspaces/mine/dialog/stop", "GET"),
    "events": (ACCOUNT, "events", "GET"),
    "datasets": (ACCOUNT, "datasets", "GET"),
    "models": (ACCOUNT, "models", "GET"),
    "wallet": (ACCOUNT, "wallet", "GET"),
    "bills": (ACCOUNT, "bills", "GET"),
    "recharge": (ACCOUNT, "recharge", "GET"),
    r"bills\.csv": (ACCOUNT, "bills.csv", "GET"),
    "bills/lines": (ACCOUNT, "bills/lines?month=2026-11&subject=run:x", "GET"),
    "assets": (ACCOUNT, "assets", "GET"),
    "assets/buy": (ACCOUNT, "assets/buy?offer=absent", "GET"),
    "assets/([A-Za-z0-9-]{1,64})/renew": (ACCOUNT, "assets/absent/renew", "GET"),
    "assets/([A-Za-z0-9-]{1,64})/conversion": (ACCOUNT, "assets/absent/conversion", "GET"),
    "account": (ACCOUNT, "account", "GET"),
    "disks": (ACCOUNT, "disks", "GET"),
    "ssh-keys": (ACCOUNT, "ssh-keys", "GET"),
    "ssh-keys/([A-Za-z0-9-]{1,64})/delete": (ACCOUNT, "ssh-keys/nothing/delete", "GET"),
    "admin/users": (ADMINS, "admin/users", "GET"),
    "admin/users/([^/]{1,255})": (ADMINS, "admin/users/matrix-owner", "GET"),
    "admin/users/([^/]{1,255})/act/([a-z]{1,10})": (ADMINS, "admin/users/matrix-owner/act/credit", "GET"),
    "admin/money": (ADMINS, "admin/money", "GET"),
    "admin/money/books": (ADMINS, "admin/money/books", "GET"),
    "admin/money/recharges": (ADMINS, "admin/money/recharges", "GET"),
    "admin/money/recharges/([A-Za-z0-9-]{1,64})/confirm": (ADMINS, "admin/money/recharges/absent/confirm", "GET"),
    "admin/money/vouchers": (ADMINS, "admin/money/vouchers", "GET"),
    "admin/money/prices": (ADMINS, "admin/money/prices", "GET"),
    "admin/money/prices/change": (ADMINS, "admin/money/prices/change?subject=offer:cpu-1", "GET"),
    "admin/money/acts": (ADMINS, "admin/money/acts", "GET"),
    "admin/workspaces": (ADMINS, "admin/workspaces", "GET"),
    "(?:.*)": (ANYBODY, "nothing-here", "GET"),
}

#: what is neither: it is open to everybody, and says nothing about anybody
OPEN = {
    "/services/console/api/v1/openapi.json",
    "/services/console/api(?:/.*)?",
    "/services/console/health",
    "/services/console/oauth_callback",
    "/services/console/static/(.*)",
    "/services/console/vendor/(.*)",
}

CALLERS = ("anonymous", "owner", "other user", "admin", "token of another service", "expired token", "invented token",
           "token without account",
           "own workspace's token", "another workspace's token")  # fmt: skip


@pytest.fixture(scope="module")
def tokens(stage: Stage) -> dict[str, str | None]:
    """A token for each kind of caller; ``matrix-owner`` has a workspace called ``mine``, and so has ``matrix-other``."""
    owner, other = stage.user("matrix-owner"), stage.user("matrix-other")
    expired = stage.token("matrix-owner", expires_in=1)
    expired_at = time.monotonic() + 1.2
    for user in ("matrix-owner", "matrix-other"):
        assert stage.order(user, name="mine").status == 201
    found = {
        "anonymous": None,
        "owner": owner,
        "other user": other,
        "admin": stage.user(ADMIN),
        "token of another service": stage.tokens["other"],
        "invented token": "0" * 32,
        "token without account": stage.token("matrix-owner", scopes=["access:services!service=console"]),
        "own workspace's token": stage.server_token("matrix-owner", "mine"),
        "another workspace's token": stage.server_token("matrix-other", "mine"),
        "expired token": expired,
    }
    while time.monotonic() < expired_at:
        time.sleep(0.05)
    return found


def address(path: str) -> str:
    right = {"name": "mine", "user": "matrix-owner", "owner": "matrix-owner", "id": "1", "provider": "nobody"}
    for parameter, value in right.items():
        path = path.replace(f"{{{parameter}}}", value)
    return path


def expected(access: str, caller: str) -> set[int]:
    """The statuses that are right; 422 says that the caller may."""
    if access == ANYBODY:
        return {404, 422}
    if caller in ("anonymous", "expired token", "invented token"):
        return {401}
    if caller in ("token of another service", "token without account"):
        return {403}
    if caller == "admin":
        return {422}
    if access == ADMINS:
        return {403}
    if caller in ("owner", "other user"):
        return {422}
    if access == WORKSPACE:
        # the other workspace has the same name, but its token is of another user: it sees that user's own workspace only
        return {422}
    return {403}


def test_every_address_of_the_api_has_a_row() -> None:
    assert {(route.method, route.path) for route in ROUTES} == set(API)


def test_every_page_has_a_row() -> None:
    assert {pattern for pattern, *_ in PAGE_ROUTES} == set(PAGES)


def test_every_other_address_is_known_to_be_open(stage: Stage) -> None:
    app = make_app(stage.settings, stage.storage, Hub(stage.settings.hub_api_url))
    patterns = {rule.matcher.regex.pattern.removesuffix("$") for rule in app.wildcard_router.rules}  # type: ignore[attr-defined]
    api = {f"/services/console/api/v1{route.pattern}" for route in ROUTES}
    pages = {f"/services/console/{pattern}" for pattern in PAGES}
    assert patterns - api - pages == OPEN


@pytest.mark.parametrize("caller", CALLERS)
@pytest.mark.parametrize(("method", "path"), list(API))
def test_who_may_call_the_api(stage: Stage, tokens: dict[str, str | None], method: str, path: str, caller: str) -> None:
    access, right = API[(method, path)]
    body = {**(right or {}), "no_such_field": 1} if method != "GET" else None
    answer = stage.api(method, address(path) + ("" if body else "?no_such_field=1"), token=tokens[caller], body=body)
    assert answer.status in expected(access, caller), answer.body
    if answer.status == 422:
        assert answer.field == "no_such_field"
    else:
        assert answer.json["error"]["message"]


@pytest.mark.parametrize(("method", "path"), [key for key in API if "{name}" in key[1] and API[key][0] != ADMINS])
def test_another_users_workspace_is_not_there(stage: Stage, tokens: dict[str, str | None], method: str, path: str) -> None:
    """As if it did not exist: for another user, for an administrator's own account, and for another user's workspace."""
    body = API[(method, path)][1]
    stage.user("matrix-empty")
    for token in (stage.user("matrix-empty"), tokens["admin"]):
        assert stage.api(method, address(path), token=token, body=body).status == 404


@pytest.mark.parametrize(("method", "path"), [key for key in API if API[key][0] == WORKSPACE])
def test_a_workspaces_token_is_for_that_workspace_only(stage: Stage, tokens: dict[str, str | None], method: str, path: str) -> None:
    answer = stage.api(method, path.replace("{name}", "sibling"), token=tokens["own workspace's token"], body=API[(method, path)][1])
    assert answer.status == 403
    assert answer.code == "token_of_workspace"


def _is_sign_in(location: str) -> bool:
    return location.startswith("/hub/api/oauth2/authorize?")


@pytest.mark.parametrize("caller", CALLERS)
@pytest.mark.parametrize("pattern", list(PAGES))
def test_who_may_open_a_page(stage: Stage, tokens: dict[str, str | None], pattern: str, caller: str) -> None:
    access, path, method = PAGES[pattern]
    answer = _open(stage, path, method, tokens[caller])
    if access == ANYBODY:
        assert answer.status == 404
    elif caller == "anonymous" and method == "GET":
        assert answer.status == 302
        assert _is_sign_in(answer.headers["Location"])
    elif caller in ("anonymous", "expired token", "invented token"):
        assert answer.status == 401
    elif caller in ("owner", "other user", "admin") and (access == ACCOUNT or caller == "admin"):
        absent = (caller == "admin" and "/mine/" in path) or "absent" in path
        assert answer.status in ({404, 409} if absent else {200, 302, 303}), answer.body
    else:
        assert answer.status == 403


def _open(stage: Stage, path: str, method: str, token: str | None) -> Answer:
    headers = {} if token is None else {"Authorization": f"token {token}"}
    raw = b"theme=auto" if method == "POST" else None
    headers["Content-Type"] = "application/x-www-form-urlencoded"
    return ask(stage.console_port, method, f"/services/console/{path}", raw=raw, headers=headers)


def test_a_session_writes_only_with_the_pages_own_token(stage: Stage) -> None:
    """The matrix's remaining caller, a browser: reads by navigation, writes and scripted reads with the XSRF token."""
    stage.user("matrix-browser")
    browser = Browser(stage)
    browser.sign_in("matrix-browser")
    browser.go("GET", "/services/console/marketplace")
    me = "/services/console/api/v1/me"
    json_body = {"Content-Type": "application/json"}
    script = {"Sec-Fetch-Mode": "cors", "Sec-Fetch-Site": "same-origin"}
    xsrf = {"X-XSRFToken": browser.cookie("_xsrf", "/services/console/")}
    assert browser.go("GET", me).status == 200
    assert browser.go("GET", me, headers=script).code == "xsrf"
    assert browser.go("GET", me, headers={**script, **xsrf}).status == 200
    for headers in (json_body, {**json_body, **script}, {**json_body, "X-XSRFToken": "guessed"}):
        refused = browser.go("PATCH", me, body=b'{"language": "zh"}', headers=headers)
        assert (refused.status, refused.code) == (403, "xsrf")
    assert browser.go("PATCH", me, body=b'{"language": "zh"}', headers={**json_body, **script, **xsrf}).json["language"] == "zh"
    page = browser.go("GET", "/services/console/workspaces", headers=script)
    assert page.status == 403, "a workspace's script must not read a page with its XSRF token in it"
