"""Putting the netdisk service together, and the server that listens on the loopback.

Promises: it does not start on a kernel without openat2, and says so; SIGTERM lets answers under way go out and writes the
accounts; a kill at any moment loses nothing that was answered.
"""

from __future__ import annotations

import asyncio
import gc
import hashlib
import hmac
import json
import logging
import signal
from typing import Any

from tornado.httpserver import HTTPServer
from tornado.web import Application, RequestHandler

from ark_extensions.domain.errors import NotFound
from ark_extensions.hub import Hub
from ark_extensions.netdisk import api, api_kept, contents, kernel, pages
from ark_extensions.netdisk.auth import PREFIX, SERVICE
from ark_extensions.netdisk.dav_writes import DavHandler
from ark_extensions.netdisk.desk import Office
from ark_extensions.netdisk.handlers import SAFE_HEADERS, FileHandler
from ark_extensions.netdisk.housekeeping import Housekeeping
from ark_extensions.netdisk.jobs import Jobs
from ark_extensions.netdisk.personal_tokens import PersonalTokens
from ark_extensions.netdisk.quick import QuickServer
from ark_extensions.netdisk.tus import CreationHandler, UploadHandler
from ark_extensions.settings import Settings
from ark_extensions.storage import Storage
from ark_extensions.volumes import Volumes
from ark_extensions.volumes.local_dir import LocalDirVolumes
from ark_extensions.web.hub_client import HubOAuth
from ark_extensions.web.oauth import service_oauth
from ark_extensions.web.tokens import KnowsTokens, TokenLookup

log = logging.getLogger("ark.netdisk")

CHUNK_BYTES = 256 * 1024
BODY_MAX = 1 << 50
HEADERS_MAX = 32 * 1024
IDLE_SECONDS = 300.0
END_SECONDS = 10.0


def make_app(settings: Settings, storage: Storage, volumes: Volumes, hub: KnowsTokens, oauth: HubOAuth | None = None) -> Application:
    """The application under ``/services/netdisk/``; without ``oauth`` no browser session is believed, and there is no page."""
    office = Office(settings, storage, volumes)
    routes: list[Any] = [
        (rf"{PREFIX}/dav(?:/.*)?", DavHandler),
        (rf"{PREFIX}/tus/?", CreationHandler),
        (rf"{PREFIX}/tus/([0-9a-f]{{32}})", UploadHandler),
        (rf"{PREFIX}/health", HealthHandler),
        (rf"{api.API}/openapi\.json", Contract),
        *api.ROUTES,
        *api_kept.ROUTES,
        *contents.ROUTES,
    ]
    if oauth is not None:
        routes += pages.ROUTES
    app = Application(
        routes, default_handler_class=Nothing, office=office, tokens=TokenLookup(hub), oauth=oauth, jobs=Jobs(office), zips={},
        languages={}, personal=PersonalTokens(settings.hub_api_url), cookie_secret=cookie_secret(settings) if oauth is not None else None,
        log_function=log_request,
    )  # fmt: skip
    app.settings["housekeeping"] = Housekeeping(office)
    return app


def cookie_secret(settings: Settings) -> bytes:
    return hmac.new(settings.secret("cookie_secret").encode(), b"netdisk cookies", hashlib.sha256).digest()


class Open(RequestHandler):
    """What anybody may read."""

    def set_default_headers(self) -> None:
        self.clear_header("Server")
        for name, value in SAFE_HEADERS.items():
            self.set_header(name, value)


class HealthHandler(Open):
    """Whether the service answers: for the supervisor, without a login."""

    async def get(self) -> None:
        self.set_header("Content-Type", "application/json")
        self.finish('{"status": "ok"}')


class Contract(Open):
    """The API's OpenAPI document, without a login."""

    async def get(self) -> None:
        from ark_extensions.netdisk.openapi import document

        self.set_header("Content-Type", "application/json")
        self.finish(json.dumps(await asyncio.get_running_loop().run_in_executor(None, document)))


class Nothing(FileHandler):
    """Every address that nothing else answers."""

    async def prepare(self) -> None:
        raise NotFound("There is nothing at this address.")


def log_request(handler: RequestHandler) -> None:
    """One line an answer, never the query."""
    status = handler.get_status()
    level = logging.DEBUG if status < 400 else logging.INFO if status < 500 else logging.WARNING
    who = getattr(getattr(handler, "caller", None), "user", "-")
    log.log(level, "%d %s %s (%s)", status, handler.request.method, handler.request.path[:200], who)


def listen(app: Application, port: int, address: str = "127.0.0.1") -> HTTPServer:
    server = QuickServer(
        app,
        # what the browser speaks to the proxy; looking each request's forwarding headers up costs a tenth of a small request
        protocol=app.settings["office"].settings.base_url.partition("://")[0],
        chunk_size=CHUNK_BYTES,
        max_body_size=BODY_MAX,
        max_buffer_size=4 * CHUNK_BYTES,
        max_header_size=HEADERS_MAX,
        idle_connection_timeout=IDLE_SECONDS,
    )
    server.listen(port, address=address)
    gc.collect()
    kernel.spare_memory()
    gc.freeze()  # what was imported stays: the collector need not walk it again and again
    return server


async def serve(settings: Settings) -> None:
    """Run until SIGTERM or SIGINT."""
    if not kernel.supported():
        raise SystemExit("The netdisk needs Linux 5.6 or later: this kernel has no openat2, without which files would not be safe.")
    ending = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ending.set)
    storage = Storage(settings.resolved_database_url)
    hub = Hub(settings.hub_api_url, token=settings.secret("netdisk_token"))
    app = make_app(settings, storage, LocalDirVolumes(settings.state_dir), hub, service_oauth(settings, SERVICE))
    server = listen(app, settings.ports.netdisk, settings.listen_host)
    housekeeping: Housekeeping = app.settings["housekeeping"]
    housekeeping.begin()
    log.info("netdisk listens on %s:%d.", settings.listen_host, settings.ports.netdisk)
    await ending.wait()
    server.stop()
    await housekeeping.end()
    try:
        await asyncio.wait_for(server.close_all_connections(), END_SECONDS)
    except TimeoutError:
        pass
    app.settings["office"].close()
    storage.close()
    log.info("netdisk ends.")
