"""What `jupyterhub -f` loads: the settings, then what every deployment shares, then the one runtime."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from ark_extensions.settings import Settings
from hub_config import authentication, base, services

c: Any = get_config()  # type: ignore[name-defined]  # noqa: F821  # given by traitlets
settings = Settings()

for part in (base, services, authentication, import_module(f"hub_config.{settings.runtime}")):
    part.configure(c, settings)
