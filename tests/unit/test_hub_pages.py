"""The Hub's own pages as we show them: in Chinese and in English, whatever state they tell of, and still what its scripts look for."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jupyterhub
import pytest
from jinja2 import ChainableUndefined, ChoiceLoader, Environment, FileSystemLoader, PrefixLoader
from jupyterhub._data import DATA_FILES_PATH

from ark_extensions.environments import PROJECT

OURS = PROJECT / "hub_config" / "templates"
THEIRS = Path(DATA_FILES_PATH, "templates")
AT = datetime(2026, 11, 23, 12, 0)
TOKEN = SimpleNamespace(api_id="a1", note="脚本", scopes=["self"], last_activity=None, created=AT, expires_at=AT)
SERVICE = SimpleNamespace(scopes=["read:users:name"])
CLIENT = {"token_id": "a2", "description": "JupyterHub service netdisk", "tokens": [SERVICE], "last_activity": AT, "created": AT}
SIGN_IN = SimpleNamespace(is_sign_in=True)
OTHER = SimpleNamespace(is_sign_in=False)
ASKED = {
    "oauth_client": SimpleNamespace(description="服务", redirect_uri="/x"),
    "allowed_scopes": ["self"],
    "scope_descriptions": [{"scope": ""}],
}
#: page → what its handler gives it, one for each state that it tells of
PAGES: list[tuple[str, dict[str, Any]]] = [
    ("404.html", {"status_code": 404, "exception": OTHER}),
    ("error.html", {"status_code": 403, "exception": OTHER, "message": "only the Hub's own words"}),
    ("error.html", {"status_code": 500, "exception": OTHER}),
    ("error.html", {"status_code": 401, "exception": SIGN_IN, "message_html": "登录失败"}),
    ("home.html", {}),
    ("login.html", {"login_error": "Invalid username or password"}),
    ("logout.html", {}),
    ("not_running.html", {"server_name": "ws1", "spawn_url": "/hub/spawn/a/ws1?next=%2Fuser%2Fa%2Fws1%2F"}),
    ("not_running.html", {"server_name": "ws1", "failed": True, "failed_message": "raw"}),
    ("not_running.html", {"server_name": ""}),
    ("spawn_pending.html", {"progress_url": "/hub/api/x"}),
    ("stop_pending.html", {}),
    ("oauth.html", ASKED),
    ("token.html", {"api_tokens": [], "oauth_clients": []}),
    ("token.html", {"api_tokens": [TOKEN], "oauth_clients": [CLIENT]}),
]
#: what the Hub's scripts look for in a page
NEEDED = {
    "token.html": ["request-token-form", "token-note", "token-expiration-seconds", "token-scopes", "token-area", "token-result"],
    "spawn_pending.html": ["progress-bar", "sr-progress", "progress-message", "progress-log", "progress-details"],
    "not_running.html": ["start"],
    "stop_pending.html": ["refresh"],
    "login.html": ["insecure-login-warning", "username_input", "password_input", "login_submit"],
}
NAMES = {"Ark", "API", "Hub"}


def environment() -> Environment:
    theirs = FileSystemLoader(THEIRS)
    loader = ChoiceLoader([FileSystemLoader(OURS), PrefixLoader({"templates": theirs}), theirs])
    return Environment(loader=loader, autoescape=True, undefined=ChainableUndefined)


def shown(name: str, values: dict[str, Any]) -> str:
    user = SimpleNamespace(
        name="alice", json_escaped_name="alice", all_spawners=lambda include_default: [], spawner=SimpleNamespace(options_form="")
    )
    given = {
        "static_url": lambda path, **_more: f"/hub/static/{path}", "base_url": "/hub/", "console_url": "/services/console/",
        "login_url": "/hub/login", "logout_url": "/hub/logout", "ark_language": "zh", "user": user, "parsed_scopes": ["admin-ui"],
        "authenticator": SimpleNamespace(login_service=""), **values,
    }  # fmt: skip
    return environment().get_template(name).render(given)


class Said(HTMLParser):
    """What a reader of one language sees: the text outside the other language, of scripts, code and what is hidden from all."""

    VOID = {"input", "br", "meta", "link", "img", "hr"}

    def __init__(self, other: str) -> None:
        super().__init__()
        self.other, self.open, self.texts, self.names = other, [], [], []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag not in self.VOID:
            modal = values.get("id") == "error-dialog"  # the Hub's own box, shown when its server does not answer
            hidden = (
                tag in ("script", "style", "code", "pre", "title", "noscript")
                or (tag != "html" and values.get("lang") in (self.other, "und"))
                or modal
            )
            self.open.append(hidden)
        if not any(self.open) and "data-ark-name" not in values and values.get("class") not in ("navbar-toggler", "btn-close"):
            self.names += [value for key in ("aria-label", "placeholder", "title") if (value := values.get(key))]

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID and self.open:
            self.open.pop()

    def handle_data(self, data: str) -> None:
        if data.strip() and not any(self.open):
            self.texts.append(" ".join(data.split()))


def said(html: str, other: str) -> Iterator[str]:
    reader = Said(other)
    reader.feed(html)
    yield from reader.texts
    yield from reader.names


@pytest.mark.parametrize(("name", "values"), PAGES, ids=[f"{name}-{n}" for n, (name, _values) in enumerate(PAGES)])
def test_each_page_of_the_hub_is_whole_in_both_languages(name: str, values: dict[str, Any]) -> None:
    html = shown(name, values)
    english = [text for text in said(html, "en") if re.search(r"[A-Za-z]{2,}", text) and not re.search(r"[\u4e00-\u9fff]", text)]
    left = [text for text in english if not set(re.findall(r"[A-Za-z]{2,}", text)) <= NAMES | {"alice", "ws"}]
    assert left == [], "only in English"
    chinese = [text for text in said(html, "zh") if re.search(r"[\u4e00-\u9fff]", text)]
    assert [text for text in chinese if text not in ("脚本", "服务", "登录失败")] == [], "only in Chinese"
    assert html.count("<main") == 1 and len(re.findall(r"<h1", html)) == 1
    for id_ in NEEDED.get(name, []):
        if not (name == "not_running.html" and not values.get("server_name") and id_ != "start"):
            assert f'id="{id_}"' in html, f"a script of JupyterHub {jupyterhub.__version__} looks for it"


def test_every_page_that_the_hub_can_show_a_user_is_ours() -> None:
    theirs = {path.name for path in THEIRS.glob("*.html")}
    not_shown = {"admin.html", "spawn.html", "accept-share.html"}  # an application of its own; no form; nothing is shared
    assert theirs - not_shown <= {path.name for path in OURS.glob("*.html")}


def test_a_token_can_be_revoked_and_its_permissions_be_looked_at() -> None:
    html = shown("token.html", {"api_tokens": [TOKEN], "oauth_clients": [CLIENT]})
    assert html.count("revoke-token-btn") == 2 and 'data-token-id="a1"' in html and 'data-token-id="a2"' in html
    assert "self" in html and "read:users:name" in html and '<time datetime="2026-11-23T12:00:00Z">' in html
