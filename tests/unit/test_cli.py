"""The `ark` command on an installation that does not run: users, wallets, catalogue, books; refusals are one sentence."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from argon2 import PasswordHasher
from click.testing import CliRunner, Result

from ark_extensions.cli import main, preparation
from ark_extensions.cli.people import token_scopes
from ark_extensions.cli.preparation import choose_ports, make_directories, make_secrets, new_password, write_settings_file
from ark_extensions.settings import Ports, Settings
from ark_extensions.storage import Storage, migrate
from ark_extensions.usecases import users

Ark = Callable[..., Result]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty migrated database, made once."""
    file = tmp_path_factory.mktemp("template") / "ark.sqlite"
    migrate(f"sqlite:///{file}")
    return file


@pytest.fixture
def state_dir(tmp_path: Path, template: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    # the command itself sets variables, for the processes it starts: none of them may reach the next test
    for name in {*os.environ, "ARK_HOST", "ARK_PORT", *(f"ARK_PORTS__{port.upper()}" for port in Ports.model_fields)}:
        if name.startswith("ARK_"):
            monkeypatch.setenv(name, "")
            monkeypatch.delenv(name)
    monkeypatch.setenv("ARK_STATE_DIR", str(tmp_path))
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    # the strength of the hash is not what these tests are about, and costs a fifth of a second each time
    monkeypatch.setattr(users, "_hasher", PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
    make_directories(tmp_path)
    write_settings_file(tmp_path)
    (tmp_path / "ark.sqlite").write_bytes(template.read_bytes())
    return tmp_path


@pytest.fixture
def ark(state_dir: Path) -> Ark:
    make_directories(state_dir)
    make_secrets(state_dir)
    return lambda *arguments: CliRunner().invoke(main, list(arguments))


def refused(result: Result) -> str:
    """The one sentence of a refusal."""
    assert result.exit_code == 1, result.output
    assert isinstance(result.exception, SystemExit), "a refusal is not a traceback"
    assert result.stdout == ""
    (line,) = result.stderr.strip().splitlines()
    return line


def test_a_new_user_has_a_generated_password_that_works(ark: Ark, state_dir: Path) -> None:
    first, second = ark("user", "add", "li"), ark("user", "add", "wang")
    assert first.exit_code == 0 and first.stdout.strip() != second.stdout.strip()
    storage = Storage(f"sqlite:///{state_dir}/ark.sqlite")
    assert users.check_password(storage, user="li", password=first.stdout.strip())
    storage.close()


def test_a_user_who_exists_is_not_made_again(ark: Ark) -> None:
    ark("user", "add", "li")
    assert "already" in refused(ark("user", "add", "li"))


@pytest.mark.parametrize("name", ["", "../x", "Li", "a b", "李", "x" * 64, "<script>"])
def test_a_name_that_cannot_be_is_refused(ark: Ark, name: str) -> None:
    assert "cannot be a user name" in refused(ark("user", "add", "--", name))


def test_a_new_password_replaces_the_old(ark: Ark, state_dir: Path) -> None:
    old = ark("user", "add", "li").stdout.strip()
    said = ark("user", "password", "li")
    new = said.stdout.strip()
    assert "until its next start" in said.stderr, "the sessions outlive it as long as there is no Hub to end them"
    assert "until its next start" in ark("user", "sign-out", "li").stderr
    storage = Storage(f"sqlite:///{state_dir}/ark.sqlite")
    assert not users.check_password(storage, user="li", password=old)
    assert users.check_password(storage, user="li", password=new)
    storage.close()


def test_credit_is_in_the_wallet_and_the_books_stay_right(ark: Ark) -> None:
    ark("user", "add", "li")
    assert "120.50" in ark("user", "credit", "li", "20.5", "--reason", "course").stdout
    (row,) = json.loads(ark("user", "list", "--json").stdout)
    assert row["balance"] == {"amount": "120.50", "currency": "CNY"}
    assert "li" in ark("user", "list").stdout
    checked = ark("books", "check")
    assert checked.exit_code == 0 and "0 differences" in checked.stdout
    assert json.loads(ark("books", "check", "--json").stdout) == []


def test_the_same_request_credits_once(ark: Ark) -> None:
    ark("user", "add", "li")
    for _ in range(2):
        said = ark("user", "credit", "li", "5", "--reason", "voucher", "--request-id", "v-1").stdout
    assert "105.00" in said


@pytest.mark.parametrize("amount", ["abc", "1e99", "NaN", "1,5", "0.00000001"])
def test_an_amount_that_is_none_is_refused(ark: Ark, amount: str) -> None:
    ark("user", "add", "li")
    refused(ark("user", "credit", "li", amount, "--reason", "x"))


@pytest.mark.parametrize("command", [("user", "password"), ("user", "sign-out"), ("user", "credit", "--reason", "x"), ("token",)])
def test_a_user_nobody_knows_is_refused(ark: Ark, command: tuple[str, ...]) -> None:
    rest = ("5",) if "credit" in command else ()
    assert "no user nobody" in refused(ark(*command, "nobody", *rest))


@pytest.mark.parametrize("expires", ["", "1", "1y", "-1h", "0h", "400d", "99999999999h"])
def test_a_token_needs_a_time_that_makes_sense(ark: Ark, expires: str) -> None:
    ark("user", "add", "li")
    assert "1h" in refused(ark("token", "li", f"--expires={expires}")) or "12h" in refused(ark("token", "li", f"--expires={expires}"))


def test_a_token_needs_a_running_platform(ark: Ark, state_dir: Path) -> None:
    ark("user", "add", "li")
    make_secrets(state_dir)
    choose_ports(state_dir)
    assert "make up" in refused(ark("token", "li"))


def test_a_token_acts_for_its_user_alone() -> None:
    scopes = token_scopes("li")
    assert "custom:ark:account" in scopes and "access:services!service=console" in scopes
    assert all("!" in scope for scope in scopes if not scope.startswith("custom:"))


def test_an_import_is_a_version_and_the_same_again_is_the_same(ark: Ark, tmp_path: Path) -> None:
    source = tmp_path / "flowers"
    source.mkdir()
    (source / "rose.txt").write_text("red")
    for _ in range(2):
        result = ark("catalog", "import", "dataset", "flower-photos", str(source), "--title", "Flowers")
        assert result.stdout.strip() == "flower-photos@1", result.output
    listed = json.loads(ark("catalog", "list", "--json").stdout)
    assert [item["name"] for item in listed["dataset"]] == ["Flowers"]
    assert ark("catalog", "withdraw", "dataset", "flower-photos").exit_code == 0


def test_an_import_of_nothing_is_refused(ark: Ark, tmp_path: Path) -> None:
    assert "not a directory" in refused(ark("catalog", "import", "model", "resnet34", str(tmp_path / "none")))


def test_a_directory_that_is_no_installation_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARK_STATE_DIR", str(tmp_path / "elsewhere"))
    monkeypatch.delenv("ARK_SETTINGS", raising=False)
    assert "make up" in refused(CliRunner().invoke(main, ["user", "list"]))


@pytest.mark.parametrize("text", ["prot: 8000", "port: many", "mirrors: {pip: x}", "- a list", "port: [", "opening_credit: '-1'"])
def test_a_settings_file_that_is_wrong_is_a_sentence(ark: Ark, state_dir: Path, text: str) -> None:
    (state_dir / "ark.yaml").write_text(text)
    assert "ark.yaml" in refused(ark("user", "list"))


def test_status_of_a_platform_that_does_not_run(ark: Ark, state_dir: Path) -> None:
    result = ark("status", "--json")
    assert result.exit_code == 3
    assert json.loads(result.stdout)["running"] is False
    assert "make up" in ark("status").stdout


def test_down_of_a_platform_that_does_not_run_is_no_error(ark: Ark) -> None:
    assert ark("down").exit_code == 0


def test_doctor_finds_a_database_that_was_never_migrated(ark: Ark, state_dir: Path) -> None:
    (state_dir / "ark.sqlite").write_bytes(b"")
    findings = {finding["name"]: finding for finding in json.loads(ark("doctor", "--json").stdout)}
    assert findings["database"]["state"] == "problem" and "make up" in findings["database"]["remedy"]


def test_doctor_says_what_to_do_about_every_problem(ark: Ark) -> None:
    findings = json.loads(ark("doctor", "--json").stdout)
    assert {"database", "books", "sandbox", "limits", "gpus", "disk", "services"} <= {finding["name"] for finding in findings}
    assert all(finding["remedy"] for finding in findings if finding["state"] != "ok")


def test_the_written_settings_file_sets_nothing(state_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = (state_dir / "ark.yaml").read_text()
    assert "# opening_credit:" in written
    ours = Settings().model_dump()
    monkeypatch.setenv("ARK_SETTINGS", str(state_dir / "none.yaml"))
    assert ours == Settings().model_dump()


def test_every_line_of_the_written_settings_file_can_be_taken_into_use(state_dir: Path) -> None:
    lines = (state_dir / "ark.yaml").read_text().splitlines()
    names = {f"# {name}: " for name in Settings.model_fields}
    taken = [line.removeprefix("# ") for line in lines if any(line.startswith(name) for name in names)]
    before = Settings().model_dump()
    (state_dir / "ark.yaml").write_text("\n".join(taken))
    assert len(taken) >= len(Settings.model_fields) - 2
    assert Settings().model_dump() == before


def test_secrets_are_for_this_account_only_and_kept(state_dir: Path) -> None:
    make_secrets(state_dir)
    before = {file.name: file.read_text() for file in (state_dir / "secrets").iterdir()}
    make_secrets(state_dir)
    assert {file.name: file.read_text() for file in (state_dir / "secrets").iterdir()} == before
    assert len(set(before.values())) == len(before) == len(preparation.SECRETS)
    assert {oct(file.stat().st_mode & 0o777) for file in (state_dir / "secrets").iterdir()} == {"0o600"}
    assert oct((state_dir / "secrets").stat().st_mode & 0o777) == "0o700"


def test_ports_are_chosen_once(state_dir: Path) -> None:
    choose_ports(state_dir)
    before = json.loads((state_dir / "ports.json").read_text())
    choose_ports(state_dir)
    assert json.loads((state_dir / "ports.json").read_text()) == before
    assert len(set(before.values())) == len(Ports.model_fields)


def test_passwords_are_long_and_never_the_same() -> None:
    made = {new_password() for _ in range(100)}
    assert len(made) == 100 and all(len(password) == 20 for password in made)
