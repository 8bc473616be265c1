"""Settings of every workspace. They come after a user's own ~/.jupyter and win over it: only what must hold is here."""

import os
import shutil
import sys
from pathlib import Path

c = get_config()  # noqa: F821 (Jupyter gives it to configuration files)

c.ServerApp.root_dir = str(Path.home())
c.ServerApp.contents_manager_class = "ark_workspace.contents.WorkspaceContents"
# a trash would fill the data disk that the user pays for, with nothing in JupyterLab to empty it
c.FileContentsManager.delete_to_trash = False
c.FileContentsManager.always_delete_dir = True
c.ContentsManager.allow_hidden = True
# no login shell: /etc/profile would take the workspace's PATH away
c.ServerApp.terminado_settings = {"shell_command": [shutil.which(os.environ.get("SHELL", "bash")) or "/bin/sh"]}
c.LabApp.news_url = None
c.LabApp.check_for_updates_class = "jupyterlab.NeverCheckForUpdate"
c.LabApp.extension_manager = "readonly"
# language servers are looked for where they would be, without running npm at every start (half a second, and a ~/.npm)
c.LanguageServerManager.node_roots = [str(Path.home()), f"{sys.prefix}/lib", sys.prefix]
