"""Ark under the Zero to JupyterHub chart, whose own configuration runs first and keeps addresses, proxy and databases.

``helm-values/base.yaml`` calls ``extend`` as the last thing that the chart's configuration does.
"""

from __future__ import annotations

import os
from typing import Any

from ark_extensions.settings import Settings
from hub_config import authentication, base, kubernetes, services


def extend(c: Any) -> None:
    """What the chart's Hub lacks to be Ark's: spawner, services, roles, sign-in, pages."""
    settings = Settings()
    # the chart's own list of services is empty, and its roles are none: Ark's are the ones
    base.configure_listener()
    base.configure_servers(c, settings)
    base.configure_pages(c, settings)
    c.JupyterHub.cleanup_servers = False  # an upgrade of the Hub ends no workspace
    if url := os.environ.get("ARK_HUB_DATABASE_URL"):
        c.JupyterHub.db_url = url
        c.JupyterHub.upgrade_db = True
    if settings.public_url:
        c.JupyterHub.public_url = settings.public_url
    services.configure(c, settings)
    authentication.configure(c, settings)
    kubernetes.configure(c, settings)
