"""`python -m ark_extensions.console`: serve the console on the loopback until SIGTERM."""

from __future__ import annotations

import asyncio
import logging

from ark_extensions.console.app import serve
from ark_extensions.loop import log_to_stderr
from ark_extensions.settings import Settings

if __name__ == "__main__":
    log_to_stderr()
    # JupyterHub's client tells of each cookie and each skipped check; handlers log what matters themselves
    logging.getLogger("tornado.application").setLevel(logging.ERROR)
    logging.getLogger("tornado.access").setLevel(logging.ERROR)
    asyncio.run(serve(Settings()))
