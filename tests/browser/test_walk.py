"""The user's guide from its first line to its last, as a newcomer with a Chinese browser walks it. Its pictures: test-results/.

With ``ARK_WALK_LANGUAGE=en`` an English reader walks the English guide; ``-s`` prints what each step took.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

from playwright.sync_api import Locator, Page, expect

from ark_extensions.environments import PROJECT
from ark_extensions.volumes.local_dir import LocalDirVolumes
from ark_extensions.web.i18n import translator
from tests.browser.conftest import SHOTS, Visitor, listen
from tests.platform import wait_until

Visit = Callable[..., Visitor]
START_MS = 90_000
EDITOR_MS = 120_000
LANGUAGE = os.environ.get("ARK_WALK_LANGUAGE", "zh")
say = translator(LANGUAGE)
#: what the guide's code and JupyterLab's corner say, which are not sentences of the console
ACCURACY = {"zh": "准确率", "en": "accuracy"}[LANGUAGE]
LEFT = {"zh": "1 小时 5\\d 分|2 小时", "en": "1 h 5\\d min|2 h"}[LANGUAGE]
STATUS = {"zh": r"^¥\d+\.\d\d · (1 小时 5\d 分钟|2 小时)后停止$", "en": r"^¥\d+\.\d\d · stops in (1 h 5\d min|2 h)$"}[LANGUAGE]
TITLE = "手写数字"
TRAIN = "训练.ipynb"
LOOK = """import os, subprocess
from pathlib import Path
print("id", os.getuid(), "home", Path.home(), subprocess.run(["sh", "-c", "echo $HOME"], capture_output=True, text=True).stdout)
root = Path.home() / "imported_datasets" / "digits"
print("classes", " ".join(sorted(folder.name for folder in root.iterdir() if folder.is_dir())))
for mounted in (root / "x", Path.home() / "imported_models" / "digits-mlp" / "x"):
    try:
        mounted.write_text("x")
        print("WRITTEN", mounted)
    except OSError as error:
        print("readonly", error.errno)
print("upload", (Path.home() / "data" / "说明.txt").read_text(), (Path("/ark-contexts/data") / "说明.txt").exists())
"""
KEEP = """import json
given = joblib.load(Path.home() / "imported_models" / "digits-mlp" / "model.joblib")
result = {"files": len(files), "score": model.score(X_test, y_test), "given": type(given).__name__}
(Path.home() / "data" / "result.json").write_text(json.dumps(result))
(Path.home() / "note.py").write_text("# from the notebook\\n")
Path("/tmp/x").write_text("x")
print("kept", result["given"])
"""
AGAIN = """from pathlib import Path
print("tmp", Path("/tmp/x").exists(), "data", (Path.home() / "data" / "my-digits.joblib").exists())
"""


def test_the_guide_from_its_first_line_to_its_last(visit: Visit) -> None:
    visitor = visit(sign_in=False, locale={"zh": "zh-CN", "en": "en-US"}[LANGUAGE])
    with step("sign in"):
        visitor.sign_in()
    visitor.shot("walk-01-signed-in")
    with step("upload a file"):
        upload(visitor)
    name = create(visitor)
    with step("look at the events"):
        events(visitor, name)
    with step("open JupyterLab"):
        lab = jupyterlab(visitor, name)
    with step("train in a notebook"):
        train(visitor, name, lab)
    status_bar(lab)
    with step("edit in VS Code"):
        edit_in_vscode(visitor, name, lab)
    lab.close()
    stop_and_start(visitor, name)
    with step("find the files again"):
        kept(visitor, name)
    with step("stop, and look at the bill"):
        bill(visitor, name)
    with step("release and restore"):
        release_and_restore(visitor, name)


@contextmanager
def step(what: str) -> Iterator[None]:
    began = time.monotonic()
    yield
    print(f"| {what} | {time.monotonic() - began:.1f} s |")


def upload(visitor: Visitor) -> None:
    """1: the netdisk."""
    page = visitor.page
    page.get_by_role("link", name=say("Netdisk"), exact=True).click()
    expect(page.locator("#nd-note")).not_to_be_empty()
    page.locator("#nd-pick-files").set_input_files([{"name": "说明.txt", "mimeType": "text/plain", "buffer": "你好".encode()}])
    expect(page.locator("#nd-rows")).to_contain_text("说明.txt")
    visitor.shot("walk-02-netdisk")


def create(visitor: Visitor) -> str:
    """2: the marketplace, the form, and the list in which the new row comes to life without a reload."""
    page = visitor.page
    with step("find compute and fill in the form"):
        fill_in(page, visitor)
    page.get_by_role("button", name=say("Create"), exact=True).click()
    page.wait_for_url(re.compile(r"/workspaces$"))
    page.evaluate("window.stayed = true")
    row = page.locator(".ws", has_text=TITLE)
    expect(row).to_have_attribute("data-state", re.compile("creating|starting|running"))
    visitor.shot("walk-05-starting")
    with step("the workspace starts"):
        expect(row).to_have_attribute("data-state", "running", timeout=START_MS)
    assert page.evaluate("window.stayed") is True, "the page was not loaded again"
    expect(row.locator("time[data-form=left]")).to_have_text(re.compile(LEFT))
    return str(row.get_attribute("data-name"))


def fill_in(page: Page, visitor: Visitor) -> None:
    page.get_by_role("link", name=say("Marketplace"), exact=True).click()
    visitor.shot("walk-03-marketplace")
    page.get_by_role("link", name=re.compile(f"^{say('Use')}")).first.click()
    page.locator("input[name=datasets][value=digits]").check()
    page.locator("input[name=models][value=digits-mlp]").check()
    page.locator("input[name=auto_stop_kind][value=after]").check()
    page.get_by_label(say("Hours until it stops")).fill("2")
    page.get_by_label(say("Name"), exact=True).fill(TITLE)
    expect(page.locator("[data-quote=per_hour]")).to_contain_text("¥")
    expect(page.locator("[data-quote=runway]")).to_contain_text(re.compile(r"\d"))
    visitor.shot("walk-04-form")


def events(visitor: Visitor, name: str) -> None:
    """2: the window at the bottom, and more in the advanced mode."""
    page = visitor.page
    page.locator(f"#ws-{name} [data-events]").click()
    expect(page.locator("#events-body .event").first).to_be_visible()
    page.get_by_label(say("Advanced"), exact=True).check()
    expect(page.locator(".event-raw").first).to_be_visible()
    window, switch = page.locator("#events-panel").bounding_box(), page.get_by_label(say("Advanced"), exact=True).bounding_box()
    assert window and switch and window["y"] + window["height"] == 900, "at the bottom of the screen"
    assert switch["x"] > window["x"] + window["width"] / 2 and switch["y"] < window["y"] + 80, "at the window's top right"
    visitor.shot("walk-06-events")
    page.locator("#events-close").click()


def row_of(page: Page, name: str) -> Locator:
    return page.locator(f"#ws-{name}")


def enter(visitor: Visitor, name: str, editor: str) -> Page:
    """The button's menu opens a tab of its own."""
    row_of(visitor.page, name).locator("[data-menu=enter]").click()
    with visitor.page.expect_popup() as opened:
        visitor.page.get_by_role("menuitem", name=editor).click()
    page = opened.value
    page.set_default_timeout(60_000)
    return page


def jupyterlab(visitor: Visitor, name: str) -> Page:
    """3: the surroundings are as the guide says."""
    page = enter(visitor, name, "JupyterLab")
    listen(page, visitor.problems)
    page.wait_for_selector(".jp-DirListing-item", timeout=EDITOR_MS)
    names = page.locator(".jp-DirListing-itemName").all_inner_texts()
    assert {"data", "imported_datasets", "imported_models"} <= set(names), names
    notebooks = {"zh": "笔记本", "en": "Notebook"}
    card = page.locator(".jp-Launcher-section", has_text=notebooks.pop(LANGUAGE)).locator(".jp-LauncherCard", has_text="VS Code")
    expect(card.locator("img")).to_be_visible()  # beside the kernels, with its picture
    for other in notebooks.values():
        expect(page.locator(".jp-Launcher-sectionTitle", has_text=other)).to_have_count(0)
    shot(page, "walk-07-jupyterlab")
    return page


def train(visitor: Visitor, name: str, page: Page) -> None:
    """3: the cells of the guide, and what they made."""
    guide = re.findall(r"```python\n(.*?)```", (PROJECT / f"docs/guide.{LANGUAGE}.md").read_text(), re.DOTALL)
    assert len(guide) == 2, "the guide learns in one cell and keeps the model in another"
    output = run_notebook(page, visitor, name, TRAIN, [LOOK, *guide, KEEP], "kept ")
    shot(page, "walk-08-notebook")
    assert "id 1000 home /home/user /home/user" in output
    assert "classes 0 1 2 3 4 5 6 7 8 9" in output
    assert "WRITTEN" not in output and output.count("readonly 30") == 2
    assert "upload 你好 True" in output
    score = re.search(rf"{ACCURACY} (0\.\d+)", output)
    assert score and float(score[1]) > 0.9
    result = json.loads((LocalDirVolumes(visitor.platform.state_dir).netdisk(visitor.name) / "result.json").read_text())
    assert result["files"] == 1797 and result["given"] == "MLPClassifier"


def status_bar(page: Page) -> None:
    """What it costs and when it stops stands at the bottom of JupyterLab."""
    expect(page.locator(".ark-Status")).to_have_text(re.compile(STATUS))


def run_notebook(page: Page, visitor: Visitor, name: str, file: str, cells: list[str], last: str) -> str:
    """Write a notebook, open it, run all its cells with the menu, save it; its output once the last cell has said its word."""
    content = {
        "nbformat": 4,
        "nbformat_minor": 5,
        "metadata": {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
        "cells": [
            {"cell_type": "code", "id": f"c{number}", "source": source, "metadata": {}, "outputs": [], "execution_count": None}
            for number, source in enumerate(cells)
        ],
    }
    call(page, visitor, name, "PUT", file, {"type": "notebook", "format": "json", "content": content})
    page.goto(f"{server(visitor, name)}/lab/tree/{quote(file)}?reset", wait_until="domcontentloaded")
    notebook = page.locator(".jp-NotebookPanel:visible")
    notebook.wait_for(timeout=EDITOR_MS)
    wait_until(lambda: is_connected(page, visitor, name), seconds=120, message="the kernel does not answer")
    wait_until(lambda: run_all(page, notebook), seconds=120, message="the kernel took no cell")
    expect(notebook.locator(".jp-OutputArea-output").last).to_contain_text(last, timeout=EDITOR_MS)
    expect(notebook.locator(".jp-InputPrompt", has_text="*")).to_have_count(0, timeout=EDITOR_MS)
    output = "\n".join(notebook.locator(".jp-OutputArea-output").all_inner_texts())
    save(page)
    assert last in read(page, visitor, name, file)
    return output


def menu(page: Page, name: str) -> None:
    """Open a menu of JupyterLab, in either language."""
    page.get_by_role("menuitem", name=re.compile(rf"^({name})$")).click()


def save(page: Page) -> None:
    """With the menu, to its end: Jupyter writes a notebook in place, and who reads it meanwhile is told that it is unreadable."""
    menu(page, "File|文件")
    with page.expect_response(lambda answer: answer.request.method == "PUT" and "/api/contents/" in answer.url, timeout=60_000) as saved:
        page.locator(".lm-Menu-item[data-command='docmanager:save']").click()
    assert saved.value.ok, f"{saved.value.status} {saved.value.text()[:500]}"


def run_all(page: Page, notebook: Locator) -> bool:
    """False when JupyterLab took no cell: it calls a kernel idle a moment before it is connected to it, and drops what is asked then."""
    dialog = page.locator(".jp-Dialog")
    assert dialog.count() == 0, dialog.inner_text()
    menu(page, "Run|运行")
    page.locator(".lm-Menu-item[data-command='runmenu:run-all']").click()
    try:
        expect(notebook.locator(".jp-InputPrompt").first).to_have_text(re.compile(r"\[[*\d]"), timeout=5_000)
    except AssertionError:
        return False
    return True


def is_connected(page: Page, visitor: Visitor, name: str) -> bool:
    """The page's socket to its kernel stands, and the kernel has answered. Jupyter may answer 500 while a kernel is being made."""
    answer = page.request.get(f"{server(visitor, name)}/api/kernels")
    return answer.ok and any(kernel["connections"] > 0 and kernel["execution_state"] == "idle" for kernel in answer.json())


def server(visitor: Visitor, name: str) -> str:
    return f"{visitor.platform.address}/user/{visitor.name}/{name}"


def call(page: Page, visitor: Visitor, name: str, method: str, path: str, body: Any = None) -> Any:
    """Jupyter's contents API, with the session of the page."""
    url = f"{server(visitor, name)}/api/contents/{quote(path)}"
    cookies = [one["value"] for one in page.context.cookies(url) if one["name"] == "_xsrf" and one["path"].startswith("/user/")]
    answer = page.request.fetch(
        url, method=method, data=json.dumps(body) if body else None, headers={"X-XSRFToken": cookies[0] if cookies else ""}
    )
    assert answer.ok, f"{method} {url}: {answer.status} {answer.text()[:500]}"
    return answer.json()


def read(page: Page, visitor: Visitor, name: str, path: str) -> str:
    content = call(page, visitor, name, "GET", path)["content"]
    return content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)


def edit_in_vscode(visitor: Visitor, name: str, lab: Page) -> None:
    """2: the same files in VS Code; what is saved there is read in JupyterLab."""
    page = enter(visitor, name, "VS Code")
    explorer = page.locator(".monaco-workbench .explorer-folders-view")
    explorer.wait_for(timeout=EDITOR_MS)
    for shown in ("imported_datasets", "note.py", TRAIN):
        expect(explorer).to_contain_text(shown, timeout=60_000)
    shot(page, "walk-09-vscode")
    explorer.get_by_text("note.py").dblclick()
    text = page.locator(".editor-instance .view-lines")
    expect(text).to_contain_text("from", timeout=60_000)
    text.click()
    page.keyboard.press("Control+End")
    page.keyboard.type("answer = 42")
    page.keyboard.press("Control+s")
    wait_until(lambda: "answer = 42" in read(lab, visitor, name, "note.py"), message="VS Code did not save")
    shot(page, "walk-10-vscode-saved")
    page.close()


def stop_and_start(visitor: Visitor, name: str) -> None:
    """6: the dialog says what is lost."""
    page = visitor.page
    row_of(page, name).get_by_role("button", name=say("Stop")).click()
    dialog = page.locator("#dialog")
    expect(dialog).to_contain_text(say("Kept: everything in /home/user and in ~/data."))
    expect(dialog).to_contain_text({"zh": "会丢失", "en": "Lost: "}[LANGUAGE])
    expect(dialog).to_contain_text("/tmp")
    visitor.shot("walk-11-stop")
    with step("stop"):
        dialog.get_by_role("button", name=say("Stop")).click()
        expect(row_of(page, name)).to_have_attribute("data-state", "stopped", timeout=START_MS)
    with step("start again"):
        row_of(page, name).get_by_role("button", name=say("Start")).click()
        expect(row_of(page, name)).to_have_attribute("data-state", "running", timeout=START_MS)


def kept(visitor: Visitor, name: str) -> None:
    """6: files as before, /tmp empty."""
    page = enter(visitor, name, "JupyterLab")
    page.wait_for_selector(".jp-DirListing-item", timeout=EDITOR_MS)
    assert f"{ACCURACY} 0." in read(page, visitor, name, TRAIN)
    assert "answer = 42" in read(page, visitor, name, "note.py")
    output = run_notebook(page, visitor, name, "again.ipynb", [AGAIN], "tmp ")
    assert "tmp False data True" in output
    shot(page, "walk-12-again")
    page.close()


def bill(visitor: Visitor, name: str) -> None:
    """5: two runs, and what they cost has left the wallet when the second is stopped."""
    page = visitor.page
    row_of(page, name).get_by_role("button", name=say("Stop")).click()
    page.locator("#dialog").get_by_role("button", name=say("Stop")).click()
    expect(row_of(page, name)).to_have_attribute("data-state", "stopped", timeout=START_MS)
    page = visitor.open("bills")
    expect(page.locator("tbody.bill", has_text=name)).to_have_count(2)
    runs = visitor.platform.api("GET", "/bills", user=visitor.name).json["items"]
    assert [(run["workspace"], run["close_reason"]) for run in runs] == [(name, "user")] * 2 and len({run["run"] for run in runs}) == 2
    assert all(run["seconds"] > 0 and float(run["cost"]["amount"]) > 0 for run in runs), runs
    visitor.shot("walk-13-bill")
    visitor.open("wallet")
    visitor.shot("walk-14-wallet")


def release_and_restore(visitor: Visitor, name: str) -> None:
    """6: the name has to be typed; it can be had back."""
    page = visitor.open("workspaces")
    row = row_of(page, name)
    row.locator("[data-menu=more]").click()
    row.locator("[data-dialog=release]").click()
    page.locator("#d-confirm").fill(name)
    visitor.shot("walk-15-release")
    page.keyboard.press("Enter")
    expect(row).to_have_attribute("data-state", "released")
    row.get_by_role("button", name=say("Restore")).click()
    expect(row).to_have_attribute("data-state", "stopped")
    visitor.shot("walk-16-restored")


def shot(page: Page, name: str) -> None:
    SHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SHOTS / f"{name}.png")
