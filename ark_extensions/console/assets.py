"""Files that browsers keep: our own under ``static/``, and a fixed list out of the npm packages under ``vendor/``.

Promises: nothing but the list leaves the npm directory, whatever a path says; an address with a version (``?v=``) may be
kept for ever, one of a package for an hour, another is asked for anew.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

from tornado.web import HTTPError, StaticFileHandler

from ark_extensions.settings import Settings

STATIC = Path(__file__).parent / "static"
PROJECT = Path(__file__).parent.parent.parent
#: what pages may load, by its path inside node_modules
VENDOR = frozenset(
    {
        "bootstrap/dist/css/bootstrap.min.css",
        "bootstrap/dist/css/bootstrap.min.css.map",
        "bootstrap/dist/js/bootstrap.bundle.min.js",
        "bootstrap/dist/js/bootstrap.bundle.min.js.map",
        "bootstrap-icons/font/bootstrap-icons.min.css",
        "bootstrap-icons/font/fonts/bootstrap-icons.woff2",
        "bootstrap-icons/font/fonts/bootstrap-icons.woff",
        "htmx.org/dist/htmx.min.js",
    }
)
FOREVER_SECONDS = 365 * 86_400
HOUR_SECONDS = 3600


def npm_directory(settings: Settings) -> Path:
    """``node_modules`` of this installation: ``ARK_NPM_DIR`` (the directory or its parent), else by the lock file's hash."""
    given = os.environ.get("ARK_NPM_DIR")
    if given:
        path = Path(given)
        return path if path.name == "node_modules" else path / "node_modules"
    lock = PROJECT / "package-lock.json"
    digest = hashlib.sha256(lock.read_bytes()).hexdigest()[:12] if lock.exists() else "none"
    return settings.cache_dir / f"npm-{digest}" / "node_modules"


class Asset(StaticFileHandler):
    """One of our own files."""

    #: a script that another imports has no version in its address: it is asked for anew (by its ETag), or it could be older
    #: than the page that uses it
    unversioned = "no-cache"

    def set_default_headers(self) -> None:
        self.clear_header("Server")
        self.set_header("X-Content-Type-Options", "nosniff")
        self.set_header("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")

    def set_extra_headers(self, path: str) -> None:
        versioned = bool(self.get_query_argument("v", ""))
        self.set_header("Cache-Control", f"public, max-age={FOREVER_SECONDS}, immutable" if versioned else self.unversioned)

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.finish("There is nothing at this address.\n")


class Vendor(Asset):
    """A file of an npm package, if it is on the list."""

    unversioned = f"public, max-age={HOUR_SECONDS}"

    async def get(self, path: str, include_body: bool = True) -> None:
        if path not in VENDOR:
            raise HTTPError(404)
        await super().get(path, include_body)
