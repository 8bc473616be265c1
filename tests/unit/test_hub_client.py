"""A process that shows a page does not carry the Hub's database layer, and whoever wants that layer still gets the real one."""

from __future__ import annotations

import subprocess
import sys

import pytest

from ark_extensions.environments import PROJECT
from ark_extensions.web.hub_client import granted

CHECK = """
import sys
import ark_extensions.{service}.app
heavy = {{"alembic", "sqlalchemy.orm", "jupyterhub.orm", "jupyterhub.scopes", "aiohttp"}} & set(sys.modules)
assert not heavy, heavy
from jupyterhub import scopes, httpclient, utils
assert scopes._intersect_expanded_scopes({{"a"}}, {{"a", "b"}}) == {{"a"}}
import aiohttp
assert utils.aiohttp.ClientOSError is aiohttp.ClientOSError and httpclient.aiohttp is aiohttp
"""


@pytest.mark.parametrize("service", ["netdisk", "console"])
def test_a_service_loads_neither_the_hub_s_tables_nor_its_http_client(service: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CHECK.format(service=service)], cwd=PROJECT, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "held",
    [
        set(),
        {"access:services!service=console"},
        {"access:services"},
        {"access:services!service=netdisk", "read:users:name!user=alice"},
        {"access:services!service=consoles", "access:servers"},
    ],
)
def test_a_browser_that_comes_back_holds_what_jupyterhub_says_it_holds(held: set[str]) -> None:
    from jupyterhub.scopes import _intersect_expanded_scopes

    required = {"access:services!service=console"}
    assert granted(required, held) == required & _intersect_expanded_scopes(required, held)
