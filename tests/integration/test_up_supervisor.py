"""The supervisor over small stand-ins for the real processes: restart, order of stopping, and nothing left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ark_extensions.environments import PROJECT
from ark_extensions.supervisor.children import start_time
from tests.platform import wait_until

# argv: state directory. The probe: "ready" exists. The hub notes its end; the stubborn one ignores SIGTERM.
DRIVER = """
import sys
from pathlib import Path
from ark_extensions.supervisor import lock
from ark_extensions.supervisor.background import report_ready
from ark_extensions.supervisor.children import Service
from ark_extensions.supervisor.supervise import Supervisor

state = Path(sys.argv[1])
def service(name, body, stop_seconds=5.0):
    begin = f'import os, signal, sys, time\\nname, state = {name!r}, {str(state)!r}\\n'
    text = begin + body + '\\nopen(state + "/is-" + name, "w")\\ntime.sleep(300)'
    return Service(name, [sys.executable, '-S', '-c', text], {}, stop_seconds)
note = 'def end(number, frame):\\n time.sleep(%s)\\n open(state + "/order", "a").write(name + " ")\\n sys.exit()\\nsignal.signal(15, end)'
def ready():
    (state / 'was-ready').touch()
    report_ready()
supervisor = Supervisor(state, probe=lambda: (state / 'ready').exists(), on_ready=ready,
    on_restart=lambda name: (state / ('again-' + name)).touch())
with lock.hold(state):
    supervisor.clear_leftovers()
    supervisor.catch_signals()
    supervisor.expect([service('loop', note % 0)])
    supervisor.add(service('proxy', note % 0))
    supervisor.add(service('hub', note % 0.3))
    supervisor.add(service('stubborn', 'signal.signal(15, signal.SIG_IGN)', 0.5))
    if (state / 'broken').exists():
        supervisor.add(service('broken', 'print("what is wrong"); sys.exit(4)'))
    sys.exit(supervisor.run(['hub']))
"""


class Driver:
    def __init__(self, state_dir: Path) -> None:
        self.state_dir = state_dir
        environment = {**os.environ, "PYTHONPATH": str(PROJECT), "LC_ALL": "C.UTF-8"}
        self.process = subprocess.Popen(
            [sys.executable, "-c", DRIVER, str(state_dir)], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def pids(self) -> dict[str, int]:

        try:
            record = json.loads((self.state_dir / "children.json").read_text())
        except (OSError, ValueError):
            return {}
        return {name: pid for name, (pid, started) in record.items() if started is not None and start_time(pid) == started}

    def ready(self) -> dict[str, int]:
        wait_until(lambda: len(self.pids()) >= 3)
        (self.state_dir / "ready").touch()
        wait_until(lambda: all((self.state_dir / f"is-{name}").exists() for name in ("loop", "proxy", "hub", "stubborn")))
        return self.pids()

    def ended(self) -> str:
        said, _ = self.process.communicate(timeout=60)
        return str(said)


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[Driver]:
    made = Driver(tmp_path)
    yield made
    made.process.kill()
    made.process.communicate(timeout=60)


def gone(pids: dict[str, int]) -> bool:
    return all(start_time(pid) is None for pid in pids.values())


def test_a_killed_service_is_started_again_and_its_return_is_told(driver: Driver) -> None:
    before = driver.ready()
    os.kill(before["proxy"], signal.SIGKILL)
    after = wait_until(lambda: pids if (pids := driver.pids()).get("proxy", before["proxy"]) != before["proxy"] else None)
    assert after["hub"] == before["hub"], "the others go on"
    wait_until(lambda: (driver.state_dir / "again-proxy").exists())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_stop_ends_the_hub_before_the_others_and_leaves_nothing(driver: Driver, number: signal.Signals) -> None:
    pids = driver.ready()
    driver.process.send_signal(number)
    said = driver.ended()
    assert driver.process.returncode == 0
    assert "stubborn did not stop" in said and "Ark has stopped" in said
    order = (driver.state_dir / "order").read_text().split()
    assert order[0] == "hub" and set(order) == {"hub", "proxy", "loop"}
    assert gone(pids)


def test_a_second_ctrl_c_does_not_break_the_order(driver: Driver) -> None:
    pids = driver.ready()
    for _ in range(3):
        driver.process.send_signal(signal.SIGINT)
        wait_until(lambda: True)
    assert "Still stopping" in driver.ended() or driver.process.returncode == 0
    assert (driver.state_dir / "order").read_text().split()[0] == "hub"
    assert gone(pids)


def test_a_killed_supervisor_takes_its_services_with_it(driver: Driver) -> None:
    pids = driver.ready()
    driver.process.kill()
    driver.process.wait(10)
    wait_until(lambda: gone(pids))


def test_a_service_that_cannot_start_ends_the_start_with_the_end_of_its_log(tmp_path: Path) -> None:
    (tmp_path / "broken").touch()
    driver = Driver(tmp_path)
    said = driver.ended()
    assert driver.process.returncode == 1
    assert "what is wrong" in said and "broken.log" in said
    assert not driver.pids()


def test_services_that_nobody_waits_for_start_when_the_platform_answers(driver: Driver) -> None:
    wait_until(lambda: len(driver.pids()) >= 3)
    assert "loop" not in driver.pids()
    driver.ready()
