"""The frame around every page, whichever service shows it: its templates, how values look in them, and what it says of the wallet.

Promises: each service's templates find the frame's (``frame.html``, ``bare.html``) beside their own; the console's style
sheet and scripts are named by their addresses, so that no service imports another.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader

from ark_extensions.usecases.views import WalletView
from ark_extensions.web import i18n
from ark_extensions.web.navigation import ADMIN_NAVIGATION, GROUPED, GROUPS, NAVIGATION

CONSOLE = "/services/console"
THEMES = ("auto", "light", "dark")
AMBER = timedelta(hours=24)
RED = timedelta(hours=3)


def loader(own: Path) -> FileSystemLoader:
    """A service's own templates, and the frame's."""
    return FileSystemLoader([own, Path(__file__).parent / "templates"])


def bind(env: Environment, language: str, currency: str) -> None:
    """What the frame's templates ask of an environment beside ``_``, ``asset`` and ``words``."""
    env.globals.update(prefix=CONSOLE, language=language, currency=currency, groups=GROUPS, grouped=GROUPED)
    env.filters.update(
        money=lambda micros, places=None: i18n.money(micros, currency, places),
        duration=lambda span: i18n.duration(span, language),
        iso=lambda at: at.strftime("%Y-%m-%dT%H:%M:%SZ") if at else "",
    )


def level(wallet: WalletView) -> str:
    """How urgent the balance is: ``""``, ``amber`` (under a day) or ``red`` (under three hours, or nothing left)."""
    if wallet.runway is None:
        return "red" if wallet.balance_micros <= 0 else ""
    return "red" if wallet.runway < RED else "amber" if wallet.runway < AMBER else ""


def around(wallet: WalletView, *, admin: bool) -> dict[str, Any]:
    """What the frame shows of its reader: the balance, and where they may go."""
    return {"wallet": wallet, "wallet_level": level(wallet), "navigation": NAVIGATION + (ADMIN_NAVIGATION if admin else ())}


def known_theme(kept: str | None) -> str:
    """The theme of a cookie, else the system's."""
    return kept if kept in THEMES else THEMES[0]
