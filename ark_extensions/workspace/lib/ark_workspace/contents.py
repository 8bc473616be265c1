"""JupyterLab's file browser on a workspace's files: what is mounted into the home directory cannot be deleted or renamed
by one click on its folder. (`data` is the netdisk of all the user's workspaces.)"""

from __future__ import annotations

import time
from typing import Any

from jupyter_server.services.contents.largefilemanager import AsyncLargeFileManager
from tornado import web

MOUNTED = frozenset({"data", "imported_datasets", "imported_models"})


class WorkspaceContents(AsyncLargeFileManager):
    """``saved_at``: when a document was last written through JupyterLab, in seconds since the epoch."""

    saved_at: float | None = None

    async def save(self, model: dict[str, Any], path: str = "") -> dict[str, Any]:
        saved = await super().save(model, path)
        self.saved_at = time.time()
        return saved

    async def delete_file(self, path: str) -> None:
        self._keep_mounted(path)
        await super().delete_file(path)

    async def rename_file(self, old_path: str, new_path: str) -> None:
        self._keep_mounted(old_path)
        await super().rename_file(old_path, new_path)

    def _keep_mounted(self, path: str) -> None:
        parts = [part for part in path.split("/") if part not in ("", ".")]
        if (len(parts) == 1 and parts[0] in MOUNTED) or (len(parts) == 2 and parts[0] in MOUNTED - {"data"}):
            raise web.HTTPError(403, f"“{path}” is mounted by the platform and stays. What is in it may be changed.")
