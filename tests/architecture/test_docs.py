"""The documents say what is so: settings, dependencies, commands and links are compared with the code."""

from __future__ import annotations

import ast
import doctest
import importlib
import json
import re
import runpy
import sys
import tomllib
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("README*.md"), *(ROOT / "docs").glob("*.md")])
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
CODE = re.compile(r"```[a-z]*\n(.*?)```|`([^`\n]+)`", re.DOTALL)
ROOMS = ("ark_extensions", "ark_spawner", "hub_config", "tests", "bench", "docs", "helm-values", "images", "locks")
#: a place in the project, and what is defined in it: `ark_extensions/hub.py:Hub.start_server`
PLACE = re.compile(rf"(?<![\w./-])(?:{'|'.join(ROOMS)})/[\w/.@-]*[\w/](?::[A-Za-z_][\w.]*)?")
#: tests as docs/sentences.md and docs/doubts.md name them, the second of one file as `::test_…` alone
TEST = re.compile(r"((?:unit|contract|integration|browser|cluster|architecture)/test_\w+\.py)?(?:::(test_\w+))?(?:\[.*\])?")
#: a name of the code that stands alone: a setting, a function, a column, a file of the secrets directory
NAME = re.compile(r"[a-z]+(?:_[a-z0-9]+)+")


def page_ids(path: Path) -> str:
    return str(path.relative_to(ROOT))


def code_in(text: str) -> list[str]:
    """Every line of code of a page: fenced blocks and spans."""
    return [line.strip() for block, span in CODE.findall(text) for line in (block or span).splitlines()]


def commands(text: str) -> set[str]:
    """What a reader types of our two commands, wherever on a line it begins: alone, behind another, in a container, after variables."""
    lines = (re.sub(r"\s+#.*$", "", line.removeprefix("$ ")) for line in code_in(text))
    parts = (part.strip() for line in lines for part in re.split(r"&&|;| -- (?=ark )", line))
    bare = (re.sub(r"^(?:[A-Z_]+=\S+ +)*(?:\.ark/bin/(?=ark ))?", "", part) for part in parts)
    return {line for line in bare if re.match(r"(make|ark) ", line)}


def test_the_settings_page_is_the_one_that_the_model_writes() -> None:
    written = runpy.run_path(str(ROOT / "docs" / "settings_page.py"))
    assert (ROOT / "docs" / "settings.md").read_text() == written["page"](), "run: python docs/settings_page.py"


def declared_dependencies() -> set[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    lines = list(project["project"]["dependencies"])
    for group in project["dependency-groups"].values():
        lines += [line for line in group if isinstance(line, str)]  # not those that include another group
    node = {name for at in (ROOT, ROOT / "locks/pages") for name in json.loads((at / "package.json").read_text())["dependencies"]}
    return {re.split(r"[\[<>=!~; ]", line)[0] for line in lines} | node


def test_every_dependency_has_a_reason() -> None:
    reasons = dict(re.findall(r"^\| `([^`]+)` \| ([^|]+) \|", (ROOT / "docs" / "dependencies.md").read_text(), re.MULTILINE))
    missing = {name for name in declared_dependencies() if not reasons.get(name, "").strip()}
    assert not missing, f"docs/dependencies.md gives no reason for {sorted(missing)}"


@cache
def imported_packages() -> set[str]:
    """What the platform imports beside the standard library and itself, by the names under which it is installed. What runs inside a
    workspace is left out: that has an environment of its own."""
    installed, found = packages_distributions(), set[str]()
    for path in (path for room in ("ark_extensions", "ark_spawner", "hub_config") for path in (ROOT / room).rglob("*.py")):
        if "workspace" in path.parts or path.name == "digits.py":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) and node.module and not node.level else []
            found |= {name.partition(".")[0] for name in names}
    own = sys.stdlib_module_names | {"ark_extensions", "ark_spawner", "hub_config"}
    return {installed[name][0].lower().replace("_", "-") for name in found - own}


def test_what_is_imported_is_a_dependency_or_comes_with_one() -> None:
    named = {name.lower().replace("_", "-") for name in re.findall(r"`([\w-]+)`", (ROOT / "docs" / "dependencies.md").read_text())}
    assert imported_packages() <= named, "docs/dependencies.md does not name it"


def test_every_dependency_of_the_platform_is_imported() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    declared = {re.split(r"[\[<>=!~; ]", line)[0].lower().replace("_", "-") for line in project}
    assert declared <= imported_packages(), "what nobody imports is removed"


@pytest.mark.parametrize("page", PAGES, ids=page_ids)
def test_links_lead_somewhere(page: Path) -> None:
    for target in LINK.findall(page.read_text()):
        path, _, anchor = target.partition("#")
        if "://" in target:
            continue
        goal = (page.parent / path).resolve() if path else page
        assert goal.exists(), f"{page.name} links to {target}, which is not there"
        if anchor and goal.suffix == ".md":
            assert anchor in anchors(goal.read_text()), f"{page.name} links to {target}, a heading that is not there"


def anchors(text: str) -> set[str]:
    """The anchors that a code host gives the headings of a page."""
    found = set()
    for heading in re.findall(r"^#+ (.+)$", text, re.MULTILINE):
        kept = re.sub(r"[^\w\- ]", "", heading.strip().lower())
        found.add(kept.replace(" ", "-"))
    return found


@pytest.mark.parametrize("page", PAGES, ids=page_ids)
def test_the_make_targets_that_a_page_names_exist(page: Path) -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z][a-z-]*):", makefile, re.MULTILINE))
    for line in commands(page.read_text()):
        words = line.split()
        if words[0] == "make":
            assert words[1] in targets, f"{page.name} says `{line}`"
            for name in re.findall(r"\b([A-Z]+)=", line):
                assert f"$({name})" in makefile, f"{page.name} says `{line}`: nobody reads {name}"


@pytest.mark.parametrize("page", PAGES, ids=page_ids)
def test_the_ark_commands_that_a_page_names_exist(page: Path) -> None:
    command = importlib.import_module("ark_extensions.cli").main
    for line in commands(page.read_text()):
        if line.startswith("ark "):
            check_ark_command(command, line, page.name)


def check_ark_command(command: object, line: str, page: str) -> None:
    """Walk down the groups by the line's words; the options of the last one must be its own."""
    words = re.split(r"\s+", re.sub(r"\s+(#|\||>|&&).*$", "", line))[1:]
    while words and hasattr(command, "commands"):
        assert words[0] in command.commands or words[0].startswith("-"), f"{page} says `{line}`: there is no `{words[0]}`"
        if words[0].startswith("-"):
            break
        command = command.commands[words.pop(0)]
    known = {option for parameter in getattr(command, "params", []) for option in parameter.opts} | {"--help"}
    for word in words:
        if word.startswith("--"):
            assert word.partition("=")[0] in known, f"{page} says `{line}`: there is no `{word}`"


@cache
def defined_in(path: Path) -> set[str]:
    """Names of a module and, behind a dot, of its classes; of a script, its functions and constants."""
    if path.suffix == ".js":
        return set(re.findall(r"(?:function|const|let|class) (\w+)", path.read_text()))
    return names_of(ast.parse(path.read_text())) if path.suffix == ".py" else set()


def names_of(body: ast.Module | ast.ClassDef) -> set[str]:
    found: set[str] = set()
    for node in body.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.ClassDef):
            found |= {node.name} | {f"{node.name}.{name}" for name in names_of(node)}
        elif isinstance(node, ast.Assign):
            found |= {target.id for target in node.targets if isinstance(target, ast.Name)}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found.add(node.target.id)
    return found


@pytest.mark.parametrize("page", PAGES, ids=page_ids)
def test_the_places_in_the_code_that_a_page_names_exist(page: Path) -> None:
    for place in (place for line in code_in(page.read_text()) for place in PLACE.findall(line)):
        file, _, name = place.partition(":")
        assert (ROOT / file).exists(), f"{page.name} names {file}, which is not there"
        assert not name or name in defined_in(ROOT / file), f"{page.name} names {place}: there is no {name}"


@pytest.mark.parametrize("page", PAGES, ids=page_ids)
def test_the_tests_that_a_page_names_exist(page: Path) -> None:
    file = ""
    for named in (found for line in code_in(page.read_text()) if (found := TEST.fullmatch(line)) and (found[1] or found[2])):
        file = named[1] or file
        assert (ROOT / "tests" / file).is_file(), f"{page.name} names {file}, which is not there"
        known = {name.rpartition(".")[2] for name in defined_in(ROOT / "tests" / file)}
        assert not named[2] or named[2] in known, f"{page.name} names {named[2]}: it is not in {file}"


@cache
def words_of_the_code() -> set[str]:
    texts = (path.read_text() for room in ("ark_extensions", "ark_spawner", "hub_config", "helm-values", "tests", "bench", "images")
             for path in (ROOT / room).rglob("*") if path.suffix in {".py", ".js", ".html", ".yaml", ".tpl"})  # fmt: skip
    return {word for text in texts for word in re.findall(r"\w+", text)}


@pytest.mark.parametrize("page", PAGES, ids=page_ids)
def test_the_names_that_a_page_uses_are_those_of_the_code(page: Path) -> None:
    """A setting, function or column that was renamed is renamed in the documents, and so are variables of the environment."""
    lines = code_in(page.read_text())
    names = {part for line in lines for part in re.split(r"[.:(]", line)[:2] if NAME.fullmatch(part)}
    variables = {name.split("__")[0] for line in lines for name in re.findall(r"\bARK_[A-Z_]+\b", line)}
    settings = importlib.import_module("ark_extensions.settings").Settings.model_fields
    known = words_of_the_code().union(f"ARK_{name.upper()}" for name in settings)
    unknown = {name for name in names | variables if not {name, name.removeprefix("ark_")} & known}  # figures are called `ark_…`
    if unknown:  # the options of sign-in are that class's
        unknown -= set(dir(importlib.import_module("oauthenticator.oauth2").OAuthenticator))
    assert not unknown, f"{page.name} uses names that nothing has"


@pytest.mark.parametrize("page", PAGES, ids=page_ids)
def test_the_settings_that_a_page_shows_are_accepted(page: Path) -> None:
    model = importlib.import_module("ark_extensions.settings").Settings
    for block in re.findall(r"```yaml\n(.*?)```", page.read_text(), re.DOTALL):
        model(**yaml.safe_load(block))  # refuses unknown names and values that cannot be


@pytest.mark.parametrize("page", PAGES, ids=page_ids)
def test_the_examples_of_a_page_are_right(page: Path) -> None:
    assert doctest.testfile(str(page), module_relative=False).failed == 0


def test_the_api_page_lists_the_statuses_that_the_console_answers_with() -> None:
    rows = re.findall(r"^\| ([\d, ]+) \|", (ROOT / "docs" / "api.md").read_text(), re.MULTILINE)
    answered = {status for _, status in importlib.import_module("ark_extensions.console.handlers").STATUS}
    assert {int(status) for row in rows for status in row.split(",")} == answered


def test_the_operators_page_names_every_process() -> None:
    """Where it says what the supervisor keeps running, and no other."""
    processes = importlib.import_module("ark_extensions.cli.processes")
    every = {"proxy", "hub", "console", "netdisk", *processes.LOOPS, processes.SSH}
    (said,) = re.findall(r"which\s+keeps (.*?) running", (ROOT / "docs" / "operate.md").read_text(), re.DOTALL)
    assert {name for name in every if re.search(rf"\b{name}\b", said.lower().replace("auto-stop", "autostop"))} == every


def test_both_readmes_name_the_same_commands() -> None:
    assert commands((ROOT / "README.md").read_text()) == commands((ROOT / "README.zh-CN.md").read_text())


def test_both_guides_name_the_same_commands() -> None:
    ours = [commands((ROOT / "docs" / f"guide.{language}.md").read_text()) for language in ("en", "zh")]
    assert ours[0] == ours[1]


def tracked_text() -> list[tuple[str, str]]:
    sys.path.insert(0, str(ROOT))
    from tests.architecture.test_shape import project_files

    found = []
    for name in project_files():
        data = (ROOT / name).read_bytes()
        if b"\0" not in data[:1000]:
            found.append((name, data.decode(errors="replace")))
    return found


def test_no_registry_is_named() -> None:
    """Installs follow the operator's own mirror, so no file may decide it."""
    hosts = ["pypi." + "org", "python" + "hosted.org", "npmjs." + "org", "npmjs." + "com", "npmmirror." + "com", "tuna." + "tsinghua"]
    named = [(name, host) for name, text in tracked_text() for host in hosts if host in text]
    assert not named


def test_no_path_of_a_builders_machine_is_named() -> None:
    """A home directory alone (root's) is every machine's; what lies in it is ours."""
    path = re.compile(r"(?<![\w./~-])/(?:ro" + r"ot/\.|wo" + r"rk(?=/|\b(?![-\w])))")
    named = [(name, match.group()) for name, text in tracked_text() for match in path.finditer(text)]
    assert not named
