"""What runs inside a workspace. This directory is bound read-only into every sandbox and imports nothing of the rest.

``lib/`` is put on the workspace's Python path, ``etc/jupyter`` and ``share/jupyter`` on Jupyter's. It gives a workspace
VS Code, the status in JupyterLab, the report of activity and the defaults; see ``README.md`` beside this file.
"""
