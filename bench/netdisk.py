"""The netdisk against nginx's dav module and `rclone serve webdav`, on the same files in the same run.

Throughput is measured in memory (/dev/shm), so that the servers are compared and not the disk; what must be on disk is
measured on the disk that holds the temporary directory, against `dd conv=fsync`.
"""

from __future__ import annotations

import concurrent.futures
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.measure import Row, at_least, at_most, interleaved, no_more_than, seconds
from bench.netdisk_servers import nginx, ours, rclone, rclone_serve

MIB = 1024 * 1024
LARGE = int(os.environ.get("ARK_BENCH_LARGE_MIB", "2048")) * MIB
DURABLE = 512 * MIB
SMALL_FILES = 5000
DEFAULTS_FILES = 300
LISTED = 100_000
SCANNED = int(os.environ.get("ARK_BENCH_SCANNED", "1000000"))
TOKEN = "alice:token-alice"


@contextmanager
def room(place: str | None = None) -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="ark-bench-netdisk-", dir=place))
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


def curl(*arguments: str, timeout: float = 600) -> float:
    """Seconds of one transfer."""
    done = subprocess.run(
        ["curl", "-sS", "-f", "-o", "/dev/null", "-w", "%{time_total}", *arguments],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=True,
    )
    return float(done.stdout)


def rate(size: int, act: Callable[[], float]) -> float:
    """MB a second."""
    return size / 1e6 / act()


def throughput() -> list[Row]:
    rows = []
    with room("/dev/shm") as root:
        large = root / "large"
        with large.open("wb") as file:
            for _ in range(LARGE // MIB):
                file.write(os.urandom(64 * 1024) * 16)
        with ours(root / "ours") as server, nginx(root / "nginx") as ng, rclone_serve(root / "rclone") as rc:
            mine = f"{server.url}/dav/large"

            def up(url: str) -> Callable[[int], float]:
                return lambda _: rate(LARGE, lambda: curl("-u", TOKEN, "-H", "Expect:", "-T", str(large), url))

            def down(url: str) -> Callable[[int], float]:
                return lambda _: rate(LARGE, lambda: curl("-u", TOKEN, url))

            value, base = interleaved(up(mine), up(f"{ng}/large"), rounds=3)
            rows.append(at_least("netdisk: 2 GiB up, against nginx dav", value, "MB/s", base, times=0.9))
            value, base = interleaved(down(mine), down(f"{ng}/large"), rounds=3)
            rows.append(at_least("netdisk: 2 GiB down, against nginx dav", value, "MB/s", base, times=0.8))
            value, base = interleaved(up(mine), up(f"{rc}/large"), rounds=2)
            rows.append(at_least("netdisk: 2 GiB up, against rclone serve", value, "MB/s", base, times=1.0))
            value, base = interleaved(down(mine), down(f"{rc}/large"), rounds=2)
            rows.append(at_least("netdisk: 2 GiB down, against rclone serve", value, "MB/s", base, times=0.8))
    return rows


def durable() -> list[Row]:
    with room() as root, ours(root / "ours") as server:
        source = Path("/dev/shm") / f"ark-bench-{os.getpid()}"
        source.write_bytes(os.urandom(MIB) * (DURABLE // MIB))
        try:

            def dd(number: int) -> float:
                command = ["dd", f"if={source}", f"of={root / 'dd'}", "bs=1M", "conv=fsync", "status=none"]
                value = rate(DURABLE, lambda: seconds(lambda: subprocess.run(command, check=True, timeout=600)))
                (root / "dd").unlink()
                return value

            def put(number: int) -> float:
                value = rate(DURABLE, lambda: curl("-u", TOKEN, "-H", "Expect:", "-T", str(source), f"{server.url}/dav/durable"))
                curl("-u", TOKEN, "-X", "DELETE", f"{server.url}/dav/durable")
                return value

            value, base = interleaved(put, dd, rounds=3)
        finally:
            source.unlink()
    return [at_least("netdisk: durable upload, against dd conv=fsync", value, "MB/s", base, times=0.8)]


def config(place: Path, name: str, url: str, *, tuned: bool, user: str | None) -> None:
    lines = [f"[{name}]", "type = webdav", f"url = {url}", f"vendor = {'owncloud' if tuned and user else 'other'}"]
    lines += ["pacer_min_sleep = 0"] if tuned else []
    if user:
        hidden = subprocess.run(
            [rclone(), "obscure", f"token-{user}"], capture_output=True, text=True, check=True, timeout=30
        ).stdout.strip()
        lines += [f"user = {user}", f"pass = {hidden}"]
    with place.open("a") as file:
        file.write("\n".join(lines) + "\n\n")


def small_files() -> list[Row]:
    with room() as root, ours(root / "ours") as server, nginx(root / "nginx") as ng:
        for number in range(SMALL_FILES):
            place = root / "small" / f"{number % 50:02}" / f"{number:05}"
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(os.urandom(500 + number % 3000))
        some = root / "some"
        some.mkdir()
        for number in range(DEFAULTS_FILES):
            (some / str(number)).write_bytes(os.urandom(1000))
        conf = root / "rclone.conf"
        config(conf, "ours", f"{server.url}/dav/", tuned=True, user="alice")
        config(conf, "plain", f"{server.url}/dav/", tuned=False, user="alice")
        config(conf, "nginx", ng, tuned=True, user=None)

        def copy(source: Path, remote: str, count: int, *options: str) -> Callable[[int], float]:
            def act(number: int) -> float:
                command = [rclone(), "copy", str(source), f"{remote}:{source.name}-{number}-{remote}", "--config", str(conf), *options]
                return count / seconds(lambda: subprocess.run(command, check=True, timeout=600, capture_output=True))

            return act

        # as the page and docs/netdisk.md write it
        tuned = ("--transfers", "16")
        value, base = interleaved(
            copy(root / "small", "ours", SMALL_FILES, *tuned), copy(root / "small", "nginx", SMALL_FILES, *tuned), rounds=2
        )
        rows = [at_least("netdisk: 5,000 small files by rclone (each synced), against nginx dav", value, "files/s", base, times=0.25)]
        plain = copy(some, "plain", DEFAULTS_FILES)(9)
        rows.append(at_least("netdisk: small files by rclone, our configuration against its defaults", value, "files/s", plain, times=10))
    return rows


def rss(pid: int) -> int:
    """Resident memory of a process in KiB, without what it shares."""
    with open(f"/proc/{pid}/smaps_rollup") as file:
        return sum(int(line.split()[1]) for line in file if line.startswith(("Private_", "Pss_Anon")) and not line.startswith("Pss"))


def memory() -> list[Row]:
    with room() as root, ours(root / "ours") as server:
        source = root / "part"
        source.write_bytes(os.urandom(MIB) * 32)
        assert server.process is not None
        curl("-u", TOKEN, "-T", str(source), f"{server.url}/dav/first")
        before = rss(server.process.pid)
        most = before
        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            uploads = [
                pool.submit(curl, "-u", TOKEN, "-H", "Expect:", "--limit-rate", "8M", "-T", str(source), f"{server.url}/dav/f{n}")
                for n in range(16)
            ]
            while not all(upload.done() for upload in uploads):
                most = max(most, rss(server.process.pid))
                time.sleep(0.05)
        return [
            no_more_than("netdisk: memory that 16 uploads at once add", (most - before) / 1024, "MiB", limit=64),
            no_more_than("netdisk: memory of the service with 16 uploads", most / 1024, "MiB", limit=64),
        ]


def many(folder: Path, count: int, each: int) -> None:
    for first in range(0, count, each):
        inner = folder if each >= count else folder / f"{first:08}"
        inner.mkdir(parents=True, exist_ok=True)
        fd = os.open(inner, os.O_RDONLY)
        for number in range(first, min(first + each, count)):
            os.close(os.open(f"{number:08}", os.O_CREAT | os.O_WRONLY, dir_fd=fd))
        os.close(fd)


def listing() -> list[Row]:
    with room() as root, ours(root / "ours") as server:
        many(server.data("alice") / "many", LISTED, LISTED)
        request = urllib.request.Request(f"{server.url}/api/v1/list?path=many&limit=200", headers={"Authorization": "token token-alice"})

        def first_page() -> None:
            with urllib.request.urlopen(request, timeout=60) as answer:
                assert len(json.load(answer)["items"]) == 200

        first_page()
        value = statistics.median(seconds(first_page) for _ in range(5))
        return [no_more_than("netdisk: first page of 100,000 files", value, "s", limit=0.3)]


def scanning() -> list[Row]:
    from ark_extensions.netdisk.scanning import measure_fast

    with room() as root:
        many(root / "tree", SCANNED, 1000)
        fd = os.open(root / "tree", os.O_RDONLY)

        def du(number: int) -> float:
            return seconds(lambda: subprocess.run(["du", "-s", "-B1", str(root / "tree")], check=True, capture_output=True, timeout=600))

        def mine(number: int) -> float:
            begun = time.perf_counter()
            assert measure_fast(fd, SCANNED).files == SCANNED + SCANNED // 1000
            return time.perf_counter() - begun

        du(0)
        value, base = interleaved(mine, du, rounds=5)
        os.close(fd)
    return [at_most("netdisk: usage scan of 1,000,000 files, against du", value, "s", base, times=1.0)]


def run() -> list[Row]:
    missing = [name for name in ("curl", "dd", "du") if shutil.which(name) is None]
    if missing:
        raise RuntimeError(f"not installed: {', '.join(missing)}")
    rows: list[Row] = []
    for part in (throughput, durable, small_files, memory, listing, scanning):
        if not os.environ.get("ARK_BENCH_PART") or part.__name__ in os.environ["ARK_BENCH_PART"]:
            print(f"  {part.__name__}", file=sys.stderr, flush=True)
            rows += part()
    return rows
