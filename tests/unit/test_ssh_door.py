"""The door inside a workspace: which variables reach a session, and that none of them can become another setting of sshd."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from ark_extensions.workspace.ssh.door import configuration, session_environment

ODD = {"A": 'x" PermitRootLogin yes "', "B": "back\\slash\\", "C": "$HOME `id`", "D": "空间", "E": "# not a comment", "F": ""}


def test_what_is_one_processs_own_stays_out() -> None:
    kept = session_environment(
        {"PWD": "/", "TERM": "xterm", "HOME": "/root", "PATH": "/opt/x/bin", "TOKEN": "t", "BASH_FUNC_x%%": "() {", "N": "a\nb"}
    )
    assert kept == {"PATH": "/opt/x/bin", "TOKEN": "t"}


@pytest.mark.skipif(not (shutil.which("sshd", path="/usr/sbin:/sbin") and shutil.which("bwrap")), reason="sshd and bubblewrap are needed")
def test_sshd_reads_every_value_as_it_is_and_no_other_setting(tmp_path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "host_key")], check=True, timeout=30)
    config = tmp_path / "sshd_config"
    config.write_text(configuration(tmp_path, {"PATH": "/opt/x/bin:/usr/bin", "EVIL": "a\nPermitTunnel yes", **ODD}))
    as_the_user = ["bwrap", "--unshare-user", "--uid", "1000", "--gid", "1000", "--dev-bind", "/", "/", "--"]
    told = subprocess.run([*as_the_user, "/usr/sbin/sshd", "-T", "-f", str(config)], capture_output=True, text=True, timeout=20)
    assert told.returncode == 0, told.stderr
    lines = told.stdout.splitlines()
    assert {f"setenv {name}={value}" for name, value in ODD.items()} <= set(lines)
    assert {"permittunnel no", "passwordauthentication no", "x11forwarding no", "usepam no", "gatewayports no"} <= set(lines)
    assert not [line for line in lines if line.startswith("setenv EVIL")]
