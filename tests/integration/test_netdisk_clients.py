"""What the systems' own WebDAV clients say to a server, in the order in which they say it: Finder, Explorer, GNOME, davfs2. Each
sequence is one the client is known for (mount, look, save as its programs save); a server that answers it is mounted and written to.
A real mount is tried where the machine has the program and lets us."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.integration.netdisk_client import Answer, ask, fresh_user
from tests.netdisk_server import Server

D = "{DAV:}"
LOCK = (
    '<?xml version="1.0" encoding="utf-8"?><D:lockinfo xmlns:D="DAV:"><D:lockscope><D:exclusive/></D:lockscope>'
    "<D:locktype><D:write/></D:locktype><D:owner><D:href>{owner}</D:href></D:owner></D:lockinfo>"
)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    one = Server(tmp_path_factory.mktemp("clients")).start()
    yield one
    one.stop()


@pytest.fixture
def server(running: Server) -> Server:
    return fresh_user(running)


def propfind(server: Server, path: str, depth: str, *names: str) -> dict[str, dict[str, ElementTree.Element]]:
    """href → the properties that are there (none named: an empty body, which asks for all)."""
    wanted = "".join(f"<D:{name}/>" for name in names)
    body = f'<?xml version="1.0"?><D:propfind xmlns:D="DAV:"><D:prop>{wanted}</D:prop></D:propfind>' if names else None
    answer = ask(server, "PROPFIND", path, body, headers={"Depth": depth})
    assert answer.status == 207, answer.body
    found = {}
    for response in ElementTree.fromstring(answer.body):
        good = [part for part in response.findall(f"{D}propstat") if "200" in (part.findtext(f"{D}status") or "")]
        href = response.findtext(f"{D}href") or ""
        found[href.removeprefix("/services/netdisk")] = {item.tag: item for part in good for item in part.find(f"{D}prop") or ()}
    return found


def token_of(answer: Answer) -> str:
    assert answer.status in (200, 201), answer.body
    return answer["Lock-Token"]


def test_every_client_is_told_what_this_server_can(server: Server) -> None:
    """Finder mounts for writing only where locks are promised; Explorer looks for its own header."""
    answer = ask(server, "OPTIONS", "/dav/")
    assert {part.strip() for part in answer["DAV"].split(",")} >= {"1", "2"}
    assert answer["MS-Author-Via"] == "DAV"
    allowed = {part.strip() for part in answer["Allow"].split(",")}
    assert allowed >= {"OPTIONS", "GET", "HEAD", "PUT", "DELETE", "MKCOL", "COPY", "MOVE", "PROPFIND", "PROPPATCH", "LOCK", "UNLOCK"}
    asked = ask(server, "PROPFIND", "/dav/", headers={"Authorization": "", "Depth": "0"})
    assert asked.status == 401 and asked["WWW-Authenticate"].startswith("Basic ")


def test_finder_mounts_saves_and_tidies_up(server: Server) -> None:
    top = propfind(server, "/dav/", "0", "getlastmodified", "getcontentlength", "creationdate", "resourcetype")["/dav/"]
    assert top[f"{D}resourcetype"].find(f"{D}collection") is not None
    quota = propfind(server, "/dav/", "0", "quota-available-bytes", "quota-used-bytes", "quota", "quotaused")["/dav/"]
    assert int(quota[f"{D}quota-available-bytes"].text or "") > 0
    for probe in ("/dav/._.", "/dav/.Spotlight-V100", "/dav/.hidden", "/dav/.metadata_never_index"):
        assert ask(server, "PROPFIND", probe, headers={"Depth": "0"}).status == 404
    # a new file: an empty one first, a lock on it, the content under the lock, then the companion with what the system keeps of it
    for name, content in (("report.pages", b"pages" * 1000), ("._report.pages", b"\0\5\x16\7" + b"\0" * 78)):
        assert ask(server, "PUT", f"/dav/{name}", b"").status == 201
        held = token_of(ask(server, "LOCK", f"/dav/{name}", LOCK.format(owner="finder"), headers={"Depth": "0", "Timeout": "Second-600"}))
        assert ask(server, "PUT", f"/dav/{name}", content, headers={"If": f"({held})"}).status == 204
        assert ask(server, "LOCK", f"/dav/{name}", headers={"If": f"({held})", "Timeout": "Second-600"}).status == 200, "it keeps the lock"
        size = propfind(server, f"/dav/{name}", "0", "getcontentlength", "getlastmodified")[f"/dav/{name}"]
        assert int(size[f"{D}getcontentlength"].text or "") == len(content)
        assert ask(server, "UNLOCK", f"/dav/{name}", headers={"Lock-Token": held}).status == 204
    # saved again, as its programs do: a new file beside the old one, then in its place
    assert ask(server, "PUT", "/dav/.new.pages", b"second").status == 201
    where = {"Destination": f"http://127.0.0.1:{server.port}/services/netdisk/dav/report.pages", "Overwrite": "T"}
    assert ask(server, "MOVE", "/dav/.new.pages", headers=where).status == 204
    assert (server.data() / "report.pages").read_bytes() == b"second"
    for name in ("._report.pages", "report.pages"):
        assert ask(server, "DELETE", f"/dav/{name}").status == 204


def test_explorer_copies_a_file_in_and_sets_its_times(server: Server) -> None:
    """The mini-redirector: a lock on a name that is free, HEAD, PUT under the lock, times as properties, unlock."""
    assert propfind(server, "/dav", "0")
    assert len(propfind(server, "/dav/", "1")) == 1
    held = token_of(ask(server, "LOCK", "/dav/Neues%20Dokument.txt", LOCK.format(owner="EXPLORER\\u"), headers={"Timeout": "Second-3600"}))
    if_held = {"If": f"({held})"}
    assert ask(server, "HEAD", "/dav/Neues%20Dokument.txt").status == 200
    assert ask(server, "PUT", "/dav/Neues%20Dokument.txt", b"content", headers=if_held).status == 204
    times = (
        '<?xml version="1.0" encoding="utf-8" ?><D:propertyupdate xmlns:D="DAV:" xmlns:Z="urn:schemas-microsoft-com:"><D:set><D:prop>'
        "<Z:Win32CreationTime>Mon, 23 Nov 2026 10:00:00 GMT</Z:Win32CreationTime><Z:Win32FileAttributes>00000020</Z:Win32FileAttributes>"
        "</D:prop></D:set></D:propertyupdate>"
    )
    patched = ask(server, "PROPPATCH", "/dav/Neues%20Dokument.txt", times, headers=if_held)
    assert patched.status == 207 and b"200 OK" in patched.body and b"403" not in patched.body
    assert ask(server, "PROPPATCH", "/dav/Neues%20Dokument.txt", times).status == 423, "another program may not, while it is locked"
    assert ask(server, "UNLOCK", "/dav/Neues%20Dokument.txt", headers={"Lock-Token": held}).status == 204
    shown = propfind(server, "/dav/Neues%20Dokument.txt", "0")["/dav/Neues%20Dokument.txt"]
    assert shown["{urn:schemas-microsoft-com:}Win32FileAttributes"].text == "00000020"
    moved = {"Destination": f"http://127.0.0.1:{server.port}/services/netdisk/dav/Umbenannt.txt", "Overwrite": "F"}
    assert ask(server, "MOVE", "/dav/Neues%20Dokument.txt", headers=moved).status == 201
    shown = propfind(server, "/dav/Umbenannt.txt", "0")["/dav/Umbenannt.txt"]
    assert shown["{urn:schemas-microsoft-com:}Win32FileAttributes"].text == "00000020", "what it keeps of a file goes with the file"


def test_davfs_and_gnome_look_lock_and_write(server: Server) -> None:
    """davfs2 locks before it opens for writing, and asks with If-Match what it has in its cache; GNOME lists with a depth of 1."""
    held = token_of(ask(server, "LOCK", "/dav/notes", LOCK.format(owner="davfs2"), headers={"Depth": "0", "Timeout": "Second-1800"}))
    put = ask(server, "PUT", "/dav/notes", b"one", headers={"If": f"</services/netdisk/dav/notes> ({held})"})
    assert put.status == 204
    assert ask(server, "UNLOCK", "/dav/notes", headers={"Lock-Token": held}).status == 204
    etag = ask(server, "HEAD", "/dav/notes")["ETag"]
    assert ask(server, "GET", "/dav/notes", headers={"If-None-Match": etag}).status == 304
    (server.data() / "notes").write_bytes(b"a workspace was here")
    assert ask(server, "PUT", "/dav/notes", b"two", headers={"If-Match": etag}).status == 412, "what it has cached is old"
    assert ask(server, "MKCOL", "/dav/folder").status == 201
    listed = propfind(server, "/dav/", "1", "resourcetype", "getcontentlength", "getetag", "displayname")
    assert set(listed) == {"/dav/", "/dav/notes", "/dav/folder/"}
    assert ask(server, "PROPFIND", "/dav/", headers={"Depth": "infinity"}).status == 403


def test_a_real_davfs_mount(server: Server, tmp_path: Path) -> None:
    if shutil.which("mount.davfs") is None:
        pytest.skip("davfs2 is not installed (apt-get install davfs2)")
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        pytest.skip("there is no /dev/fuse here: a container has it with --device /dev/fuse")
    place = tmp_path / "mnt"
    place.mkdir()
    # the mount runs as a user of its own, who cannot come into this test's directory
    cache = Path(tempfile.mkdtemp(prefix="ark-davfs-"))
    cache.chmod(0o777)
    assert ask(server, "PUT", "/dav/before", b"was there").status == 201
    (tmp_path / "secrets").write_text(f"{place} {server.user} token-{server.user}\n")
    (tmp_path / "secrets").chmod(0o600)
    (tmp_path / "davfs2.conf").write_text(f"secrets {tmp_path}/secrets\nask_auth 0\ncache_dir {cache}\n")
    command = ["mount.davfs", f"{server.url}/dav/", str(place), "-o", f"conf={tmp_path}/davfs2.conf"]
    mounted = subprocess.run(command, capture_output=True, text=True, timeout=60)
    if mounted.returncode != 0:
        shutil.rmtree(cache)
        pytest.skip(f"this machine lets nobody mount: {mounted.stderr.strip()[-200:]}")
    try:
        assert (place / "before").read_bytes() == b"was there"
        (place / "from-davfs").write_bytes(b"through the kernel")
        (place / "folder").mkdir()
        (place / "folder" / "draft").write_bytes(b"x" * 300_000)
        (place / "folder" / "draft").rename(place / "folder" / "final")
        (place / "before").unlink()
    finally:
        subprocess.run(["umount", str(place)], check=True, timeout=120)  # waits until all is written
        shutil.rmtree(cache)
    assert (server.data() / "from-davfs").read_bytes() == b"through the kernel"
    assert (server.data() / "folder" / "final").read_bytes() == b"x" * 300_000
    assert sorted(os.listdir(server.data())) == ["folder", "from-davfs"] and os.listdir(server.data() / "folder") == ["final"]


def test_gnome_s_own_client_reads_and_writes(server: Server, tmp_path: Path) -> None:
    """`gio` over dav://, where the session bus and gvfs's WebDAV backend are."""
    backend = next((p for p in (Path("/usr/libexec/gvfsd-dav"), Path("/usr/lib/gvfs/gvfsd-dav")) if p.exists()), None)
    if shutil.which("gio") is None or shutil.which("dbus-run-session") is None or backend is None:
        pytest.skip("gio, dbus-run-session or gvfs's WebDAV backend is not installed (apt-get install gvfs-backends dbus)")
    (tmp_path / "file").write_bytes(b"from GNOME")
    address = f"dav://{server.user}@127.0.0.1:{server.port}/services/netdisk/dav"
    script = (
        f"printf '%s\\n' token-{server.user} | gio mount {address} && gio copy {tmp_path}/file {address}/file && gio cat {address}/file"
    )
    done = subprocess.run(["dbus-run-session", "--", "sh", "-c", script], capture_output=True, text=True, timeout=120)
    assert re.search("from GNOME", done.stdout), done.stderr
    assert (server.data() / "file").read_bytes() == b"from GNOME"
