"""What set-up and supervisor say, in the language of the terminal.

They speak before the translation catalogue can be read (it needs an environment), so theirs is a table of its own.
"""

from __future__ import annotations

import os


def language() -> str:
    """``zh`` when the terminal is Chinese, else ``en``."""
    for name in ("LC_ALL", "LC_MESSAGES", "LANG"):
        if value := os.environ.get(name):
            return "zh" if value.lower().startswith("zh") else "en"
    return "en"


def say(msgid: str, **params: object) -> str:
    """The sentence with its fields filled, in the terminal's language."""
    sentence = CHINESE.get(msgid, msgid) if language() == "zh" else msgid
    return sentence.format(**params) if params else sentence


CHINESE = {
}
