"""The language in which JupyterLab and the way to VS Code open: the owner's at the console (``ARK_LANGUAGE``).

It is the server's default only. What somebody chooses in JupyterLab under Settings → Language is kept on the data disk and wins.
"""

from __future__ import annotations

import os
from importlib.metadata import entry_points
from typing import Any

LOCALES = {"en": "en", "zh": "zh_CN"}


def wanted() -> str:
    """``en``, ``zh``, or ``""`` where the platform does not know."""
    language = os.environ.get("ARK_LANGUAGE", "")
    return language if language in LOCALES else ""


def is_spoken(locale: str) -> bool:
    """Whether the image has JupyterLab's language pack."""
    return locale == "en" or any(entry.name == locale for entry in entry_points(group="jupyterlab.languagepack"))


def open_in_own_language(settings: dict[str, Any]) -> None:
    """Make it the default of this Jupyter server; ``settings`` are its web application's.

    JupyterLab's own default is the locale of the process. That one cannot be set where the image has no such locale, and it
    would translate every program's messages, also those that people paste into a search. A default of its setting
    (``default_setting_overrides.json``) reaches the browser, but not the menus, which its server translates.
    """
    language = wanted()
    if not language:
        return
    from jupyterlab_server import settings_utils, translation_utils, translations_handler

    locale = LOCALES[language]
    if is_spoken(locale):
        for module in (translation_utils, settings_utils, translations_handler):
            module.SYS_LOCALE = locale
        settings.setdefault("page_config_data", {})["arkLanguage"] = language
