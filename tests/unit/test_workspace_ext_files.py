"""What is bound into a workspace is whole: files name each other rightly, and nothing of the rest of Ark is used."""

from __future__ import annotations

import ast
import hashlib
import json
import re

from ark_extensions.environments import PROJECT

WORKSPACE = PROJECT / "ark_extensions/workspace"
EXTENSION = WORKSPACE / "share/jupyter/labextensions/@ark/status"


def test_the_labextension_is_named_by_its_content() -> None:
    """So that no browser keeps an old one. To mend: rename the file, and name it in package.json (twice)."""
    (script,) = (EXTENSION / "static").iterdir()
    wanted = f"remoteEntry.{hashlib.sha256(script.read_bytes()).hexdigest()[:16]}.js"
    assert script.name == wanted
    package = json.loads((EXTENSION / "package.json").read_text())
    assert package["jupyterlab"]["_build"]["load"] == f"static/{wanted}" == package["main"]


def test_the_labextension_says_everything_in_both_languages() -> None:
    (script,) = (EXTENSION / "static").iterdir()
    text = script.read_text()
    english, chinese = (re.search(rf"const {name} = {{(.*?)\n  }};", text, re.DOTALL) for name in ("EN", "ZH"))
    assert english and chinese
    pattern = re.compile(r"^    (\w+): '(.*)',?$", re.MULTILINE)
    en, zh = dict(pattern.findall(english[1])), dict(pattern.findall(chinese[1]))
    assert set(en) == set(zh)
    assert {k: sorted(re.findall(r"\{\w+\}", v)) for k, v in en.items()} == {k: sorted(re.findall(r"\{\w+\}", v)) for k, v in zh.items()}
    assert set(re.findall(r"words\.(\w+)", text)) <= set(en)


def test_nothing_of_the_rest_of_ark_is_imported() -> None:
    for source in (WORKSPACE / "lib").rglob("*.py"):
        for node in ast.walk(ast.parse(source.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not any(n.split(".")[0] in ("ark_extensions", "ark_spawner", "hub_config") for n in names), source


def test_jupyter_is_told_of_the_extension() -> None:
    config = json.loads((WORKSPACE / "etc/jupyter/jupyter_server_config.d/ark_workspace.json").read_text())
    assert config["ServerApp"]["jpserver_extensions"]["ark_workspace"] is True
    overrides = json.loads((WORKSPACE / "etc/jupyter/labconfig/default_setting_overrides.json").read_text())
    assert overrides["@jupyterlab/apputils-extension:notification"]["fetchNews"] == "false"
    assert "vscode = ark_workspace.vscode:server" in (WORKSPACE / "lib/ark_workspace-1.0.dist-info/entry_points.txt").read_text()
