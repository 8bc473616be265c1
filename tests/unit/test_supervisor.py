"""The supervisor's parts: patience that grows, one holder of a directory, logs that stay small."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ark_extensions.environments import PROJECT
from ark_extensions.supervisor import lock
from ark_extensions.supervisor.children import Child, Service, restart_delay_seconds
from ark_extensions.supervisor.logs import rotate, tail


def test_restarts_wait_longer_each_time_up_to_ten_seconds() -> None:
    delays = [restart_delay_seconds(failures) for failures in range(1, 10)]
    assert delays == [0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0, 10.0]


def test_a_child_that_lived_long_is_restarted_soon(tmp_path: Path) -> None:
    child = Child(Service("stand-in", ["true"]), tmp_path / "log")
    child.failures = 5
    child.start(now=0.0)
    assert child.process is not None
    child.process.wait(10)
    assert child.reap(now=100.0) == 0
    assert child.restart_at == pytest.approx(100.2)


def test_a_directory_has_one_holder_and_others_learn_who(tmp_path: Path) -> None:
    assert lock.holder(tmp_path) is None
    with lock.hold(tmp_path):
        assert lock.holder(tmp_path) == os.getpid()
        lock.note(tmp_path, {"address": "http://x"})
        with pytest.raises(lock.AlreadyRunning) as refused, lock.hold(tmp_path):
            pass
        assert refused.value.pid == os.getpid()
        assert lock.holder(tmp_path) == os.getpid(), "asking does not let go"
    assert lock.holder(tmp_path) is None
    assert lock.noted(tmp_path) == {}


def test_the_lock_of_a_killed_holder_is_free(tmp_path: Path) -> None:
    script = (
        "import sys, time; from pathlib import Path; from ark_extensions.supervisor import lock\n"
        "with lock.hold(Path(sys.argv[1])): lock.note(Path(sys.argv[1]), {'address': 'old'}); print('held', flush=True); time.sleep(60)"
    )
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    with subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, env=environment) as process:
        assert process.stdout is not None and process.stdout.readline() == b"held\n"
        assert lock.holder(tmp_path) == process.pid
        process.kill()
        process.wait(10)
    assert lock.holder(tmp_path) is None
    with lock.hold(tmp_path):
        assert lock.noted(tmp_path) == {}, "what the dead one noted is not believed"


def test_stopping_what_does_not_run_is_done_at_once(tmp_path: Path) -> None:
    assert lock.stop(tmp_path, timeout_seconds=0.1)


def test_a_torn_note_is_no_note(tmp_path: Path) -> None:
    (tmp_path / "supervisor.json").write_text('{"address": "htt')
    assert lock.noted(tmp_path) == {}
    (tmp_path / "supervisor.json").write_text(json.dumps([1]))
    assert lock.noted(tmp_path) == {}


def test_a_large_log_is_moved_aside_and_its_writer_goes_on(tmp_path: Path) -> None:
    log = tmp_path / "hub.log"
    with log.open("ab", buffering=0) as writer:
        writer.write(b"x" * 100 + b"\n")
        assert not rotate(log, large_bytes=1000)
        assert rotate(log, large_bytes=100)
        writer.write(b"after\n")
    assert log.read_bytes() == b"after\n"
    assert (tmp_path / "hub.log.1").read_bytes().startswith(b"xxx")


def test_the_end_of_a_log_is_shown_even_if_it_is_not_text(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_bytes(b"one\n\xff\xfe\nthree\n")
    assert tail(tmp_path / "a.log", lines=1) == "three"
    assert tail(tmp_path / "none.log") == ""
