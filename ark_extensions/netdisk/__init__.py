"""The netdisk: a file service on the users' trees, by browser, WebDAV and tus.

The trees are writable by their users' own workspaces while we work on them, so nothing here looks a path up twice:
``tree`` resolves every path with ``openat2(RESOLVE_BENEATH)`` and acts on descriptors.
"""
