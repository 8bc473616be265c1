"""The way to VS Code: a page with the time that has passed until its server answers, and from then on the server itself."""

from __future__ import annotations

import json
import re
from typing import Any

from jupyter_server.auth.decorator import authorized
from jupyter_server.base.handlers import APIHandler, JupyterHandler
from jupyter_server.utils import url_path_join
from jupyter_server_proxy.handlers import AddSlashHandler, NamedLocalProxyHandler
from tornado import web

from ark_workspace import vscode
from ark_workspace.editor import State
from ark_workspace.language import wanted

#: a start that is done by then needs no page
GRACE_SECONDS = 0.3
EN = {
    "lang": "en",
    "starting": "VS Code is starting…",
    "hint": "A few seconds, when it is opened for the first time after a start. On a busy machine up to a minute.",
    "seconds": "{n} s",
    "failed": "VS Code has not started.",
    "failed_hint": "The disk or the memory of the workspace may be full: look in JupyterLab, then try again.",
    "again": "Try again",
    "lab": "Open JupyterLab",
}
ZH = {
    "lang": "zh-CN",
    "starting": "VS Code 正在启动…",
    "hint": "工作空间启动后第一次打开需要几秒钟，机器繁忙时最多一分钟左右。",
    "seconds": "{n} 秒",
    "failed": "VS Code 没有启动成功。",
    "failed_hint": "可能是工作空间的磁盘或内存已满：可以先在 JupyterLab 里看一看，再重试。",
    "again": "重试",
    "lab": "打开 JupyterLab",
}


class VSCodeHandler(NamedLocalProxyHandler):
    """Everything under ``vscode/``. What a person opens gets the page; what VS Code's own page asks for waits."""

    name = proxy_base = "vscode"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.proxy_base = "vscode"
        self.update_last_activity = False  # an open tab keeps sockets busy all day

    @property
    def unix_socket(self) -> str:
        return vscode.editor().socket

    async def proxy(self, port: int, path: str) -> None:
        if await vscode.editor().wait(GRACE_SECONDS if self._is_a_person() else 60.0):
            await super().proxy(port, path)
        elif self._is_a_person():
            self._show_the_page()
        else:
            raise web.HTTPError(503, "VS Code is starting")

    async def open(self, path: str) -> None:
        if await vscode.editor().wait():
            await super().open(path)
        else:
            self.close()

    def _is_a_person(self) -> bool:
        return self.request.method == "GET" and "text/html" in self.request.headers.get("Accept", "")

    def _show_the_page(self) -> None:
        words = ZH if re.match(r"\s*zh\b", wanted() or self.request.headers.get("Accept-Language", ""), re.IGNORECASE) else EN
        settings = {
            "words": words,
            "status": url_path_join(self.base_url, "ark/vscode"),
            "lab": url_path_join(self.base_url, "lab"),
            "failed": vscode.editor().state is State.FAILED,
        }
        text = (vscode.HERE / "opening.html").read_text(encoding="utf-8")
        self.set_header("Content-Type", "text/html; charset=utf-8")
        self.set_header("Cache-Control", "no-store")
        self.finish(text.replace("{{lang}}", words["lang"]).replace("{{settings}}", json.dumps(settings).replace("<", "\\u003c")))


class EditorStatusHandler(APIHandler):
    """What the page asks twice a second. Asking starts nothing."""

    auth_resource = "server"
    _track_activity = False

    @web.authenticated
    @authorized
    async def get(self) -> None:
        editor = vscode.editor()
        self.finish(json.dumps({"state": editor.state, "seconds": editor.seconds}))


class NoVSCodeHandler(JupyterHandler):
    @web.authenticated
    async def get(self, *path: str) -> None:
        raise web.HTTPError(503, "VS Code is not installed on this platform. Ask an operator to run `make up` again, or use JupyterLab.")


def handlers(base_url: str, log: Any) -> list[tuple[str, type[web.RequestHandler]]]:
    place = url_path_join(base_url, "vscode")
    if not vscode.is_installed():
        return [(place + r"(/.*)?", NoVSCodeHandler)]
    vscode.editor().log = log
    return [(url_path_join(base_url, "ark/vscode"), EditorStatusHandler), (place + r"(/.*)", VSCodeHandler), (place, AddSlashHandler)]
