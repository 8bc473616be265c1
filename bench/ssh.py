"""SSH through the gateway against direct OpenSSH, in the same run: bulk copies both ways, connection set-up, memory of 200
sessions, and how long a keystroke takes to come back.

Both sides end at the same sandbox: direct is an sshd of its own in it on a loopback port, with the same configuration.
"""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.measure import Row, at_least, at_most, interleaved, no_more_than, seconds
from tests.integration.ssh_stage import Stage, can_run, staged, until
from tests.ports import free_port

BULK_MIB = 256
COPIES, SETUPS, ECHOES, SESSIONS = 7, 15, 400, 200
SCP_TIMES, SETUP_TIMES, ECHO_MORE_MS, MEMORY_MIB = 0.5, 1.3, 5.0, 10.0
SHARED = Path("/dev/shm")


@dataclass
class Sides:
    """An ssh configuration file for each side; both call the workspace ``ws1``."""

    stage: Stage
    ours: Path
    theirs: Path


@contextmanager
def sides() -> Iterator[Sides]:
    port = free_port()
    serve = f"until [ -e $XDG_RUNTIME_DIR/ssh/sshd_config ]; do sleep 0.05; done; exec /usr/sbin/sshd -D -p {port}"
    program = ("/bin/sh", "-c", f"{serve} -o ListenAddress=127.0.0.1 -o MaxStartups=500 -f $XDG_RUNTIME_DIR/ssh/sshd_config")
    with tempfile.TemporaryDirectory() as directory, staged(Path(directory) / "stage") as stage:
        key = stage.key("alice")
        stage.workspace("alice", name="ws1", program=program)
        direct = stage.directory / "direct"
        options = (f"Port {port}", "HostName 127.0.0.1", "User user", f"IdentityFile {key}", "IdentitiesOnly yes", "BatchMode yes",
                   "StrictHostKeyChecking no", "UserKnownHostsFile /dev/null", "LogLevel ERROR")  # fmt: skip
        direct.write_text("Host ws1\n" + "".join(f" {line}\n" for line in options))
        found = Sides(stage, stage.config("alice", key, "LogLevel ERROR"), direct)
        for config in (found.ours, found.theirs):
            until(lambda config=config: call("ssh", config, "ws1", "true", check=False) == 0, 20, "the first connection")
        yield found


def call(program: str, config: Path, *words: str, check: bool = True) -> int:
    return subprocess.run(
        [program, "-F", str(config), *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=check,
        timeout=300,
    ).returncode


def copies(both: Sides) -> list[Row]:
    """MiB a second, memory to memory, so that no disk is measured."""
    big = SHARED / f"ark-bench-{os.getpid()}"
    big.write_bytes(os.urandom(1 << 20) * BULK_MIB)

    def up(config: Path) -> float:
        return BULK_MIB / seconds(lambda: call("scp", config, str(big), "ws1:/dev/shm/bulk"))

    def down(config: Path) -> float:
        return BULK_MIB / seconds(lambda: call("scp", config, "ws1:/dev/shm/bulk", "/dev/null"))

    try:
        rows = []
        for name, act in (("up", up), ("down", down)):
            ours, theirs = interleaved(lambda _, act=act: act(both.ours), lambda _, act=act: act(both.theirs), rounds=COPIES)
            rows.append(at_least(f"ssh: scp {name} through the gateway", ours, "MiB/s", theirs, times=SCP_TIMES))
        return rows
    finally:
        big.unlink()


def setup(both: Sides) -> Row:
    def connect(config: Path) -> float:
        return 1000 * seconds(lambda: call("ssh", config, "ws1", "true"))

    ours, theirs = interleaved(lambda _: connect(both.ours), lambda _: connect(both.theirs), rounds=SETUPS)
    return at_most("ssh: connection set-up", ours, "ms", theirs, times=SETUP_TIMES)


def talking(config: Path) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(["ssh", "-F", str(config), "ws1", "echo in; exec cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None and process.stdout.readline() == b"in\n"
    return process


def end(processes: list[subprocess.Popen[bytes]]) -> None:
    for process in processes:
        process.kill()
    for process in processes:
        process.communicate(timeout=20)


def echo(both: Sides) -> Row:
    """A byte there and back, the slowest of a hundred, on both sides in turn."""
    ours, theirs = talking(both.ours), talking(both.theirs)
    taken: tuple[list[float], list[float]] = ([], [])
    try:
        for _ in range(ECHOES):
            for process, times in zip((ours, theirs), taken, strict=True):
                assert process.stdin is not None and process.stdout is not None
                begun = time.perf_counter()
                process.stdin.write(b"x\n")
                process.stdin.flush()
                process.stdout.readline()
                times.append(1000 * (time.perf_counter() - begun))
    finally:
        end([ours, theirs])
    slowest = [sorted(times)[int(0.99 * len(times))] for times in taken]
    target = f"≤ baseline + {ECHO_MORE_MS:g} ms"
    return Row("ssh: echo p99", slowest[0], "ms", slowest[1], slowest[0] / slowest[1], target, slowest[0] <= slowest[1] + ECHO_MORE_MS)


def memory(both: Sides) -> Row:
    assert both.stage.gateway is not None
    pid = both.stage.gateway.pid
    end([talking(both.ours) for _ in range(5)])
    before, open_ones = rss_mib(pid), []
    try:
        while len(open_ones) < SESSIONS:
            open_ones += [talking(both.ours) for _ in range(10)]
        grown = rss_mib(pid) - before
    finally:
        end(open_ones)
    return no_more_than(f"ssh: gateway memory of {SESSIONS} sessions", grown, "MiB", limit=MEMORY_MIB)


def rss_mib(pid: int) -> float:
    found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found.group(1)) / 1024


def run() -> list[Row]:
    if not can_run():
        raise RuntimeError("bubblewrap and OpenSSH (ssh, sshd, scp) are needed")
    with sides() as both:
        return [setup(both), echo(both), memory(both), *copies(both)]
