"""``python -m ark_extensions.netdisk``: the netdisk service, as a process of the platform."""

from __future__ import annotations

import asyncio
import logging

from ark_extensions.netdisk.app import serve
from ark_extensions.settings import Settings

if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    asyncio.run(serve(Settings()))
