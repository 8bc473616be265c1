"""Under which address a reader has reached the platform: links and commands that they copy must work where they are."""

from __future__ import annotations

from tornado.httputil import HTTPServerRequest

from ark_extensions.settings import Settings


def address_of(request: HTTPServerRequest, settings: Settings) -> str:
    """``http://host:port`` without a slash at its end: the configured public address, else the one by which the request came through the
    proxy, else (a request past the proxy) the configured one."""
    if settings.public_url or "X-Forwarded-Proto" not in request.headers:
        return settings.base_url.rstrip("/")
    return f"{request.protocol}://{request.host}"
