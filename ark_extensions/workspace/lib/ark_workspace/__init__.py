"""Jupyter server extension of a workspace: its status and stop time for JupyterLab, VS Code, the report of activity.

Loaded by ``etc/jupyter/jupyter_server_config.d``. Outside a workspace (no ``ARK_API_URL``) it gives VS Code and the
defaults, and reports to nobody.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

__version__ = "1.0"


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    return [{"module": "ark_workspace"}]


def _load_jupyter_server_extension(serverapp: Any) -> None:
    from tornado.ioloop import PeriodicCallback

    from ark_workspace import opening
    from ark_workspace.handlers import handlers
    from ark_workspace.language import open_in_own_language
    from ark_workspace.observe import Observer
    from ark_workspace.platform_api import Platform
    from ark_workspace.reporter import Reporter
    from ark_workspace.tabs import let_tabs_sign_in_at_once

    _forget_own_path()
    open_in_own_language(serverapp.web_app.settings)
    platform = Platform.from_environment()
    reporter = Reporter(platform, Observer(serverapp), serverapp.log)
    serverapp.web_app.settings["ark_platform"] = platform
    serverapp.web_app.settings["ark_reporter"] = reporter
    serverapp.web_app.add_handlers(".*$", handlers(serverapp.web_app.settings["base_url"]))
    # before jupyter-server-proxy's own, because extensions are loaded by their names' order
    serverapp.web_app.add_handlers(".*$", opening.handlers(serverapp.web_app.settings["base_url"], serverapp.log))
    # JupyterHub is told when the workspace last worked, not when an open tab last asked for something
    serverapp.web_app.last_activity = lambda: reporter.worked_at
    oauth = getattr(serverapp.identity_provider, "hub_auth", None)  # none where there is no Hub
    if oauth is not None:
        let_tabs_sign_in_at_once(oauth)
    every = float(os.environ.get("ARK_ACTIVITY_SECONDS", "60"))
    look = PeriodicCallback(reporter.look, every * 1000)
    serverapp.io_loop.add_callback(reporter.look)
    serverapp.io_loop.add_callback(look.start)


def _forget_own_path() -> None:
    """Kernels, terminals and editors get the user's Python path, without ours."""
    own = Path(__file__).resolve().parent.parent
    paths = [p for p in os.environ.get("PYTHONPATH", "").split(os.pathsep) if p and Path(p).resolve() != own]
    if paths:
        os.environ["PYTHONPATH"] = os.pathsep.join(paths)
    else:
        os.environ.pop("PYTHONPATH", None)
