"""The `ark` command: what an operator does at a terminal or in a script.

Promises: what the platform refuses is one sentence on stderr and status 1, never a traceback; `--json` prints one JSON
document on stdout and nothing else.
"""

from __future__ import annotations

from ark_extensions.cli.root import main

__all__ = ["main"]
