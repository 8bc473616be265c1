"""Putting the console together: the API, the pages, the files, and the server that listens on the loopback.

Promises: it starts whether the Hub is there or not; a body above the limit or one that trickles in is refused; SIGTERM lets
answers under way go out, ends live streams, and waits a moment for work in the background.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import signal
from typing import Any

from tornado.httpserver import HTTPServer
from tornado.web import Application, RequestHandler

from ark_extensions.console import assets
from ark_extensions.console.api.dispatch import handlers as api_handlers
from ark_extensions.console.auth import PREFIX
from ark_extensions.console.context import Console
from ark_extensions.console.handlers import NothingHere, OAuthCallback
from ark_extensions.console.health import HealthHandler
from ark_extensions.hub import Hub
from ark_extensions.settings import Settings
from ark_extensions.storage import Storage
from ark_extensions.web.bodies import BoundedServer

log = logging.getLogger("ark.console")

HEADERS_MAX = 32 * 1024
IDLE_SECONDS = 120.0


def make_app(settings: Settings, storage: Storage, hub: Hub) -> Application:
    """The application under ``/services/console/``. ``hub`` carries the console's own token."""
    from ark_extensions.console.pages import ROUTES as PAGES

    console = Console.of(settings, storage, hub)
    routes: list[Any] = [
        *api_handlers(),
        (f"{PREFIX}health", HealthHandler),
        (f"{PREFIX}oauth_callback", OAuthCallback),
        (f"{PREFIX}static/(.*)", assets.Asset, {"path": str(assets.STATIC)}),
        (f"{PREFIX}vendor/(.*)", assets.Vendor, {"path": str(assets.npm_directory(settings))}),
        *((f"{PREFIX}{pattern}", *rest) for pattern, *rest in PAGES),
    ]
    secret = hmac.new(settings.secret("cookie_secret").encode(), b"console cookies", hashlib.sha256).digest()
    return Application(routes, default_handler_class=NothingHere, cookie_secret=secret, ark=console, log_function=log_request)


def log_request(handler: RequestHandler) -> None:
    """One line an answer: never the query, which may hold tokens; what goes well and often goes to debug."""
    status = handler.get_status()
    level = logging.DEBUG if status < 400 else logging.INFO if status < 500 else logging.WARNING
    who = getattr(getattr(handler, "principal", None), "user", "-")
    request = handler.request
    log.log(level, "%d %s %s (%s) %.1f ms", status, request.method, request.path[:200], who, 1000 * request.request_time())


def listen(app: Application, port: int, address: str = "127.0.0.1") -> HTTPServer:
    """Begin to serve; raises OSError when the port is taken."""
    server = BoundedServer(
        app,
        xheaders=True,
        trusted_downstream=["127.0.0.1"],
        max_header_size=HEADERS_MAX,
        idle_connection_timeout=IDLE_SECONDS,
    )
    server.listen(port, address=address)
    return server


async def serve(settings: Settings) -> None:
    """Run until SIGTERM or SIGINT."""
    ending = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ending.set)
    storage = Storage(settings.resolved_database_url)
    app = make_app(settings, storage, Hub(settings.hub_api_url, token=settings.secret("console_token")))
    server = listen(app, settings.ports.console, settings.listen_host)
    log.info("console listens on %s:%d.", settings.listen_host, settings.ports.console)
    await ending.wait()
    server.stop()
    await app.settings["ark"].close()
    await asyncio.wait_for(server.close_all_connections(), 5)
    storage.close()
    log.info("console ends.")
