"""VS Code in the browser: code-server behind jupyter-server-proxy, on a unix socket that only this user can open.

``editor`` starts it when it is first opened, ``opening`` shows a page until it answers and passes everything on from then.
An open editor tab keeps sockets busy all day, so its traffic never counts as activity: what is done in the editor's
terminals, and processor time, does (``observe``).
"""

from __future__ import annotations

import json
import os
from functools import cache
from pathlib import Path
from typing import Any

from ark_workspace import language
from ark_workspace.editor import Editor

HERE = Path(__file__).resolve().parent
#: the defaults of a new user; theirs to change, never touched again
SETTINGS = {
    "telemetry.telemetryLevel": "off",
    "workbench.startupEditor": "none",
    "extensions.autoCheckUpdates": False,
    "update.mode": "none",
    "git.openRepositoryInParentFolders": "never",
    # the assistants need an account elsewhere; until a user wants one, they only stand in the way and use memory
    "chat.disableAIFeatures": True,
    "workbench.secondarySideBar.defaultVisibility": "hidden",
    # what programs keep for themselves: JupyterLab's list hides it, too
    "files.exclude": {
        "**/.ipynb_checkpoints": True,
        **dict.fromkeys((".cache", ".config", ".ipython", ".jupyter", ".local", ".npm"), True),
    },
    # a dataset may have a million files: not each of them is watched and searched
    "files.watcherExclude": {"**/imported_datasets/**": True, "**/imported_models/**": True},
    "search.exclude": {"imported_datasets": True, "imported_models": True},
}
FLAGS = (
    "--auth=none",
    "--disable-telemetry",
    "--disable-update-check",
    "--disable-getting-started-override",
    "--disable-workspace-trust",
    "--disable-proxy",
    "--app-name=VS Code",
)


def entry() -> Path:
    return Path(os.environ.get("ARK_CODE_SERVER", "/nonexistent")) / "out/node/entry.js"


def node() -> Path:
    return Path(os.environ.get("ARK_NODE", "/nonexistent")) / "bin/node"


def is_installed() -> bool:
    return entry().is_file() and node().is_file()


@cache
def editor() -> Editor:
    """The one of this Jupyter server."""
    # else VS Code asks a login shell for its environment, and /etc/profile forgets the workspace's PATH
    return Editor(command, {"VSCODE_CLI": "1"})


def server() -> dict[str, Any]:
    """The ``jupyter_serverproxy_servers`` entry; without code-server there is none (jupyter-server-proxy logs the reason).

    It is there for JupyterLab's launcher: requests come to ``opening``, whose routes are asked before jupyter-server-proxy's.
    """
    if not is_installed():
        raise RuntimeError("code-server is not installed")
    return {
        "unix_socket": editor().socket,
        "new_browser_tab": True,
        "update_last_activity": False,
        "launcher_entry": {"enabled": True, "title": "VS Code", "icon_path": str(HERE / "vscode.svg"), "category": section()},
    }


def section() -> str:
    """The launcher's part for notebooks, by the name it has there: an entry of another name stands alone, without its picture."""
    return "笔记本" if language.wanted() == "zh" and language.is_spoken("zh_CN") else "Notebook"


def command(unix_socket: str) -> list[str]:
    """code-server's command line; makes its settings first when there are none.

    Node is named by its path and not put first on PATH: a user's own Node must stay theirs in the terminals.
    """
    write_settings(Path.home() / ".local/share/code-server/User/settings.json")
    places = [f"--config={HERE / 'code-server.yaml'}", f"--socket={unix_socket}", "--socket-mode=600"]
    return [str(node()), str(entry()), *places, *FLAGS, str(Path.home())]


def write_settings(path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            json.dump(SETTINGS, file, indent=2)
    except OSError:  # there are some, or the disk is full: VS Code does without
        return
