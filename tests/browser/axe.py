"""axe-core on a page as it stands: what is wrong with it for somebody who has a keyboard, a screen reader or poor eyes."""

from __future__ import annotations

from playwright.sync_api import Page

from ark_extensions.environments import environments

#: an open dialog alone: nobody reaches what lies under it
RUN = """async () => {
  const found = await axe.run(document.querySelector("dialog[open]") ?? document, { resultTypes: ["violations"], preload: false });
  return found.violations.flatMap((rule) => rule.nodes.map((node) => `${rule.impact} ${rule.id}: ${node.html.slice(0, 160)}`));
}"""


def findings(page: Page) -> list[str]:
    """Every violation of every rule, whatever its impact: ``impact rule: element``. `make test-env` brings the rules."""
    if not page.evaluate("'axe' in window"):
        page.evaluate(environments().axe_script.read_text("utf-8"))
    found: list[str] = page.evaluate(RUN)
    return found
