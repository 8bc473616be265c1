"""What a guide prints in bold to be looked for on a page is what the page says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ark_extensions.web.i18n import messages

ROOT = Path(__file__).resolve().parents[2]
#: bold in a guide without being a word of ours: names of programs, paths of the navigation, mere emphasis
NOT_ON_A_PAGE = {
    "zh": {"JupyterLab", "VS Code", "我的资产 - 我的算力", "按时间停止", "清空"},
    "en": {"JupyterLab", "VS Code", "My assets, My compute", "By time", "When idle", "When the wallet is empty", "gone"},
}


@pytest.mark.parametrize("language", sorted(NOT_ON_A_PAGE))
def test_a_bold_word_of_the_guide_is_a_word_of_the_pages(language: str) -> None:
    chinese = messages("zh")
    known = set(chinese.values()) if language == "zh" else set(chinese)
    bold = set(re.findall(r"\*\*([^*]+)\*\*", (ROOT / f"docs/guide.{language}.md").read_text()))
    assert len(bold) > 15
    assert bold - known - NOT_ON_A_PAGE[language] == set()
