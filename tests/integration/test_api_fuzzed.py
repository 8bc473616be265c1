"""The API against its own OpenAPI document, with input that nobody would think of (schemathesis): no answer is a 5xx, and every
status, content type and body is as documented. Seeded, so that a failure comes again. Where workspaces are pods: test_attack_pods.py.
"""

from __future__ import annotations

import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from tests.console_stage import ADMIN, Stage, stage

__all__ = ["stage"]

SECONDS = 20
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
#: streams do not end
LEFT_OUT = "/events/stream$"


@pytest.mark.parametrize("who", ["user", "administrator"])
def test_every_answer_is_as_documented(stage: Stage, tmp_path: Path, who: str) -> None:
    user = ADMIN if who == "administrator" else f"fuzz-{uuid.uuid4().hex[:6]}"
    stage.user(user)
    assert stage.order(user, name="ws").status == 201
    fuzz(stage, tmp_path, user, seconds=SECONDS)


def fuzz(stage: Stage, tmp_path: Path, user: str, *, seconds: int) -> None:
    base = f"http://127.0.0.1:{stage.console_port}/services/console/api/v1"
    command = [
        sys.executable,
        "-m",
        "schemathesis.cli",
        "run",
        f"{base}/openapi.json",
        "--url",
        base,
        "--header",
        f"Authorization: token {stage.user(user)}",
    ]
    command += [
        "--checks",
        CHECKS,
        "--exclude-path-regex",
        LEFT_OUT,
        "--phases",
        "coverage,fuzzing",
        "--seed",
        "1",
        "--max-time",
        str(seconds),
    ]
    command += ["--max-examples", "20", "--continue-on-failure", "--no-shrink", "--request-timeout", "20", "--warnings", "off"]
    command += ["--generation-database", "none", "--suppress-health-check", "all", "--no-color"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=seconds + 100)
    assert done.returncode == 0, done.stdout[-12_000:] + done.stderr[-2000:]
