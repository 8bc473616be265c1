"""Links and commands name the address under which their reader came: a LAN address, a tunnel's port, a public name."""

from __future__ import annotations

from pathlib import Path

import pytest
from tornado.httputil import HTTPHeaders, HTTPServerRequest, RequestStartLine

from ark_extensions.settings import Settings
from ark_extensions.web.address import address_of

PROXIED = {"X-Forwarded-Proto": "http", "Host": "10.0.0.5:9000"}


@pytest.mark.parametrize(
    ("configured", "headers", "address"),
    [
        ({"host": "0.0.0.0", "port": 8000}, PROXIED, "http://10.0.0.5:9000"),
        ({"host": "127.0.0.1", "port": 8000}, {"Host": "127.0.0.1:8003"}, "http://127.0.0.1:8000"),
        ({"public_url": "https://ark.example.org/"}, PROXIED, "https://ark.example.org"),
    ],
)
def test_an_address_is_the_readers(configured: dict[str, object], headers: dict[str, str], address: str, tmp_path: Path) -> None:
    request = HTTPServerRequest(start_line=RequestStartLine("GET", "/", "HTTP/1.1"), headers=HTTPHeaders(headers))
    assert address_of(request, Settings(state_dir=tmp_path, **configured)) == address
