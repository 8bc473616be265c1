"""The netdisk's JSON API against the real service: lists, moves, copies, trash, zip, previews, unfinished uploads."""

from __future__ import annotations

import io
import json
import os
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from ark_extensions.catalogue import import_item
from ark_extensions.settings import Settings
from ark_extensions.storage import Storage, tables
from ark_extensions.usecases import netdisk, netdisk_full, users
from ark_extensions.usecases.notices import list_notices
from tests.integration.netdisk_client import Answer, ask, begin_tus, fresh_user
from tests.netdisk_contract import assert_as_documented
from tests.netdisk_server import Server


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    one = Server(tmp_path_factory.mktemp("netdisk")).start()
    yield one
    one.stop()


@pytest.fixture
def server(running: Server) -> Server:
    fresh_user(running)
    running.data()
    return running


def call(server: Server, method: str, path: str, body: Any = None, **headers: str) -> Answer:
    """An answer that is not as the OpenAPI document says fails whatever test asked for it."""
    data = None if body is None else json.dumps(body)
    answer = ask(server, method, f"/api/v1/{path}", data, headers=headers)
    assert_as_documented(method, path, answer.status, answer.body)
    return answer


def document(answer: Answer) -> Any:
    return json.loads(answer.body)


def names(server: Server, **query: str) -> list[str]:
    words = "&".join(f"{key}={quote(value)}" for key, value in query.items())
    return [item["name"] for item in document(call(server, "GET", f"list?{words}"))["items"]]


def until(condition, seconds: float = 60.0):  # type: ignore[no-untyped-def]
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, "it did not come to be so"
        time.sleep(0.02)
    return value


def fill(server: Server, *paths: str) -> None:
    for path in paths:
        place = server.data() / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(f"this is {path}")


def test_a_list_in_pages_by_name_size_and_time(server: Server) -> None:
    for number in range(25):
        place = server.data() / f"f{number:02}"
        place.write_bytes(b"x" * (25 - number))
        os.utime(place, (1_700_000_000 + number % 7, 1_700_000_000 + number % 7))
    (server.data() / "zfolder").mkdir()
    for query in ({"sort": "name"}, {"sort": "size"}, {"sort": "modified"}, {"sort": "size", "order": "desc"}, {"order": "desc"}):
        words = "&".join(f"{key}={value}" for key, value in query.items())
        seen, cursor = [], ""
        while cursor is not None:
            page = document(call(server, "GET", f"list?limit=7&{words}" + (f"&cursor={cursor}" if cursor else "")))
            assert page["total"] == 26
            seen += [item["name"] for item in page["items"]]
            cursor = page["next"]
        assert len(seen) == 26 and len(set(seen)) == 26 and seen[0] == "zfolder", query
        if query.get("sort") == "size":
            assert seen[1:] == sorted(seen[1:], reverse="order" not in query)
    assert call(server, "GET", "list?cursor=zzz").status == 400 and call(server, "GET", "list?sort=colour").status == 422


def test_folders_moves_and_conflicts(server: Server) -> None:
    fill(server, "a/one", "b/one", "two")
    assert call(server, "POST", "folders", {"path": "new"}).status == 201
    assert call(server, "POST", "folders", {"path": "new"}).status == 409
    assert call(server, "POST", "folders", {"path": "../x"}).status == 422
    assert call(server, "POST", "folders", {"path": "x", "extra": 1}).status == 422
    clash = call(server, "POST", "moves", {"items": ["a/one"], "into": "b"})
    assert clash.status == 409 and document(clash)["error"]["code"] == "exists"
    both = document(call(server, "POST", "moves", {"items": ["a/one", "two"], "into": "b", "on_conflict": "keep_both"}))
    assert [result["path"] for result in both["results"]] == ["b/one (2)", "b/two"]
    assert call(server, "POST", "moves", {"items": ["b"], "to": "b/inside"}).status == 409
    assert document(call(server, "POST", "moves", {"items": ["b/two"], "to": "renamed"}))["results"][0]["path"] == "renamed"
    replaced = document(call(server, "POST", "moves", {"items": ["renamed"], "to": "b/one", "on_conflict": "replace"}))
    assert replaced["results"][0]["path"] == "b/one" and (server.data() / "b/one").read_text() == "this is two"
    assert names(server) == ["a", "b", "new"]


def test_a_copy_is_a_job_with_progress(server: Server) -> None:
    fill(server, "src/a", "src/deep/b")
    (server.data() / "src/link").symlink_to("a")
    os.mkfifo(server.data() / "src/pipe")
    job = document(call(server, "POST", "copies", {"items": ["src"], "into": ""}))
    done = until(lambda: (j := document(call(server, "GET", f"copies/{job['id']}")))["state"] != "running" and j)
    assert done["state"] == "done" and done["results"] == ["src (2)"]
    copied = server.data() / "src (2)"
    assert (copied / "deep/b").read_text() == "this is src/deep/b" and os.readlink(copied / "link") == "a"
    assert not (copied / "pipe").exists()
    assert call(server, "POST", "copies", {"items": ["src"], "to": "src/deep/x"}).status == 403
    assert call(server, "POST", "copies", {"items": ["none"], "into": ""}).status == 404


def test_the_trash_gives_back_what_was_deleted(server: Server) -> None:
    fill(server, "work/notes.txt", "other")
    assert call(server, "POST", "trash", {"paths": ["work", "other"]}).status == 200
    assert names(server) == []
    items = {item["name"]: item for item in document(call(server, "GET", "trash"))["items"]}
    assert items["work"]["kind"] == "folder" and items["work"]["files"] == 2
    fill(server, "work/notes.txt")
    restored = document(call(server, "POST", "trash/restore", {"ids": [items["work"]["id"]]}))
    assert restored["results"][0]["path"] == "work (2)"
    assert (server.data() / "work (2)/notes.txt").read_text() == "this is work/notes.txt"
    assert call(server, "POST", "trash/restore", {"ids": [items["work"]["id"]]}).status == 409
    other = server.user
    fresh_user(server)
    assert call(server, "POST", "trash/restore", {"ids": [items["other"]["id"]]}).status == 409, "another user's trash"
    server.user = other
    assert call(server, "DELETE", "trash", {}).status == 204
    assert document(call(server, "GET", "trash"))["items"] == []
    assert os.listdir(server.data().parent / ".trash") == []


def test_search_finds_names_anywhere(server: Server) -> None:
    fill(server, "a/Report.txt", "a/b/my report", "c/else", "数据/报告.csv")
    found = document(call(server, "GET", "search?q=report"))
    assert sorted(item["path"] for item in found["items"]) == ["a/Report.txt", "a/b/my report"] and found["complete"]
    assert [i["path"] for i in document(call(server, "GET", "search?q=" + quote("报告")))["items"]] == ["数据/报告.csv"]
    assert call(server, "GET", "search?q=").status == 422


def test_a_folder_as_a_zip(server: Server, tmp_path) -> None:  # type: ignore[no-untyped-def]
    fill(server, "f/a.txt", "f/sub/数据.txt", "f/we\\ird..name", "f/con:x", "f/con?x")
    (server.data() / "f/empty").mkdir()
    (server.data() / "f/out").symlink_to("/etc/passwd")
    os.mkfifo(server.data() / "f/pipe")
    answer = ask(server, "GET", "/api/v1/zip?path=f")
    assert answer.status == 200 and "f.zip" in answer["Content-Disposition"]
    archive = zipfile.ZipFile(io.BytesIO(answer.body))
    assert archive.testzip() is None
    assert sorted(archive.namelist()) == ["f/a.txt", "f/con_x", "f/con_x (2)", "f/empty/", "f/sub/数据.txt", "f/we_ird..name"]
    assert archive.read("f/sub/数据.txt").decode() == "this is f/sub/数据.txt"
    assert ask(server, "GET", "/api/v1/zip?path=../..").status == 422 and ask(server, "GET", "/api/v1/zip?path=none").status == 404


NOTEBOOK = {
    "cells": [
        {"cell_type": "markdown", "source": ["# Title <script>alert(1)</script>"]},
        {
            "cell_type": "code", "source": "print('<img src=x onerror=alert(1)>')",
            "outputs": [
                {"output_type": "stream", "text": ["\x1b[31mred\x1b[0m <b>"]},
                {"output_type": "display_data", "data": {"text/html": "<script>alert(2)</script>", "text/plain": "plain"}},
                {"output_type": "display_data", "data": {"image/png": "aGVsbG8=\n"}},
                {"output_type": "display_data", "data": {"image/png": '"><script>alert(3)</script>', "text/plain": "not an image"}},
                {"output_type": "display_data", "data": {"image/svg+xml": "<svg onload=alert(4)>"}},
            ],
        },
    ]
}  # fmt: skip


def test_previews_run_nothing(server: Server) -> None:
    (server.data() / "n.ipynb").write_text(json.dumps(NOTEBOOK))
    (server.data() / "x.html").write_text("<script>alert(1)</script>")
    (server.data() / "x.svg").write_text("<svg onload=alert(1)>")
    (server.data() / "x.png").write_bytes(b"\x89PNG not really")
    rendered = ask(server, "GET", "/api/v1/render/n.ipynb")
    page = rendered.body.decode()
    assert "<script" not in page and "<svg" not in page and "<img src=x" not in page and "plain" in page and "data:image/png" in page
    policy = rendered["Content-Security-Policy"]
    assert policy.startswith("sandbox;") and "default-src 'none'" in policy and "script-src" not in policy and "allow-scripts" not in policy
    html = ask(server, "GET", "/api/v1/preview/x.html")
    assert html["Content-Type"] == "application/json" and document(html)["preview"] == "text"
    assert ask(server, "GET", "/api/v1/view/x.svg").status == 409, "an SVG is text: as an image it could carry scripts"
    image = ask(server, "GET", "/api/v1/view/x.png")
    assert image["Content-Type"] == "image/png" and image["X-Content-Type-Options"] == "nosniff"
    assert image["Content-Security-Policy"].startswith("sandbox")
    saved = ask(server, "GET", "/api/v1/files/x.html")
    assert saved["Content-Disposition"].startswith("attachment") and saved["Content-Type"] == "application/octet-stream"
    assert ask(server, "GET", "/api/v1/render/x.html").status == 409


def test_small_uploads_with_folders_and_conflicts(server: Server) -> None:
    first = ask(server, "PUT", "/api/v1/files/deep/er/a.txt", b"one")
    assert first.status == 201 and (server.data() / "deep/er/a.txt").read_bytes() == b"one"
    assert ask(server, "PUT", "/api/v1/files/deep/er/a.txt", b"two").status == 409
    both = ask(server, "PUT", "/api/v1/files/deep/er/a.txt?on_conflict=keep_both", b"two")
    assert document(both)["path"] == "deep/er/a (2).txt"
    assert ask(server, "PUT", "/api/v1/files/deep/er/a.txt?on_conflict=replace", b"three").status == 200
    assert ask(server, "PUT", "/api/v1/files/..%2f..%2fx", b"x").status == 422
    assert ask(server, "PUT", "/api/v1/files/%2e%2e/x", b"x").status == 422


def test_names_that_are_no_utf8_can_be_named(server: Server) -> None:
    with open(os.fsencode(server.data()) + b"/\xff\xfe.bin", "wb") as file:
        file.write(b"odd")
    item = document(call(server, "GET", "list"))["items"][0]
    assert item["name"] == "\udcff\udcfe.bin"
    assert call(server, "POST", "moves", {"items": [item["name"]], "to": "even.bin"}).status == 200
    assert (server.data() / "even.bin").read_bytes() == b"odd"
    assert call(server, "POST", "moves", {"items": ["\ud800"], "to": "x"}).status == 422


def test_programs_are_told_the_address_under_which_their_user_came(server: Server) -> None:
    through_the_proxy = ask(server, "GET", "/api/v1/usage", headers={"X-Forwarded-Proto": "http"})
    assert document(through_the_proxy)["webdav_url"] == f"http://127.0.0.1:{server.port}/services/netdisk/dav/"


def test_unfinished_uploads_are_listed_and_cleaned(server: Server) -> None:
    begin_tus(server, "big.bin", 1000)
    items = document(call(server, "GET", "uploads"))["items"]
    assert [(item["path"], item["offset"], item["length"]) for item in items] == [("big.bin", 0, 1000)]
    assert document(call(server, "GET", "usage"))["unfinished_uploads"] == 1
    assert call(server, "DELETE", "uploads", {}).status == 204
    assert document(call(server, "GET", "uploads"))["items"] == []
    assert os.listdir(server.data().parent / ".staging") == []


def test_what_workspaces_write_is_measured_within_a_minute(server: Server) -> None:
    first = document(call(server, "GET", "usage"))
    (server.data() / "written").write_bytes(os.urandom(3 << 20))
    call(server, "POST", "folders", {"path": "touch"})
    used = until(lambda: (u := document(call(server, "GET", "usage")))["used_bytes"] > 3 << 20 and u["used_bytes"], 75)
    assert abs(used - (3 << 20)) < 0.01 * (3 << 20) + 8192 and first["free_quota_bytes"] == 10 << 30


def test_an_owner_over_the_limit_hears_of_it_and_uploads_are_refused(server: Server) -> None:
    """A workspace writes past the service: the measure finds it out, and what is over is measured again soon."""
    user = server.user
    (server.data() / "written").write_bytes(os.urandom(3 << 20))
    with opened(server) as storage:
        users.ensure_user(storage, name=user, admin=False, opening_credit_micros=0, now=datetime.now(UTC))
        netdisk.open_netdisk(storage, owner=user, now=datetime.now(UTC))
        netdisk.set_netdisk_limits(storage, owner=user, limit_bytes=2 << 20, limit_files=None)
        until(lambda: document(call(server, "GET", "usage"))["over_limit"])
        refused = ask(server, "PUT", "/dav/small", b"x")
        assert refused.status == 507 and not (server.data() / "small").exists()
        assert ask(server, "GET", "/dav/written", headers={"Range": "bytes=0-9"}).status == 206
        until(lambda: [notice.message.msgid for notice in list_notices(storage, owner=user)] == [netdisk_full.TOO_LARGE.msgid])
        due = dict(until(lambda: netdisk.due_scans(storage, now=datetime.now(UTC) + timedelta(minutes=1))))
        assert user in due


@contextmanager
def opened(server: Server) -> Iterator[Storage]:
    storage = Storage(f"sqlite:///{server.state_dir / 'ark.sqlite'}")
    try:
        yield storage
    finally:
        storage.close()


def test_a_personal_token_makes_no_tokens(server: Server) -> None:
    assert call(server, "GET", "tokens").status == 403
    assert call(server, "POST", "tokens", {"name": "x", "days": 1}).status == 403
    assert ask(server, "GET", "/api/v1/list", headers={"Authorization": ""}).status == 401


def test_sentences_come_in_the_callers_language(server: Server) -> None:
    assert "there" in document(call(server, "GET", "list?path=none", **{"Accept-Language": "en"}))["error"]["message"]


def test_a_dataset_is_imported_by_the_server_and_refused_when_it_does_not_fit(server: Server, tmp_path: Path) -> None:
    (tmp_path / "1").mkdir()
    (tmp_path / "1/a.txt").write_text("petals")
    with opened(server) as storage:
        settings = Settings(state_dir=server.state_dir)
        for name in ("flowers", "ocean"):
            import_item(storage, settings, kind="dataset", name=name, source_dir=tmp_path, title=name.title(), now=datetime.now(UTC))
        with storage.write() as connection:
            versions = tables.catalog_versions
            connection.execute(versions.update().where(versions.c.name == "ocean").values(size_bytes=5 << 40))
    listed = {item["name"]: item for item in document(call(server, "GET", "imports"))["items"]}
    assert listed["flowers"]["versions"][0]["file_count"] == 1
    refused = call(server, "POST", "imports", {"kind": "dataset", "name": "ocean"})
    assert refused.status == 507 and document(call(server, "GET", "copies"))["items"] == [], "at once, before anything is copied"
    assert call(server, "POST", "imports", {"kind": "dataset", "name": "none"}).status == 404
    fill(server, "into/there")
    job = document(call(server, "POST", "imports", {"kind": "dataset", "name": "flowers", "into": "into"}))
    done = until(lambda: (j := document(call(server, "GET", f"copies/{job['id']}")))["state"] != "running" and j)
    assert done["state"] == "done" and done["results"] == ["into/flowers"] and done["done_files"] == done["total_files"] == 3
    imported = server.data() / "into/flowers/1/a.txt"
    assert imported.read_text() == "petals" and os.access(imported, os.W_OK)


def test_the_document_of_the_api_is_served(server: Server) -> None:
    served = json.loads(ask(server, "GET", "/api/v1/openapi.json", headers={"Authorization": ""}).body)
    assert served["paths"]["/imports"]["post"]["requestBody"]["required"]


def test_what_was_refused_is_not_done_afterwards(server: Server) -> None:
    """A refusal may go out while the body still comes in: the method must not run when it is there."""
    (server.data() / "kept").write_text("kept")
    log = server.state_dir / "server.log"
    before = log.stat().st_size
    for method, address in (("POST", "tokens"), ("DELETE", "tokens/t1")):
        assert call(server, method, address, {"name": "x", "days": 1}).status == 403
    for address in ("files/kept", "files/kept?on_conflict=replace"):
        refused = ask(server, "PUT", f"/api/v1/{address}", b"new", headers={"Authorization": f"token foreign-{server.user}"})
        assert refused.status == 403
    assert ask(server, "PUT", "/dav/kept", b"new", headers={"If-Match": '"other"'}).status == 412
    assert (server.data() / "kept").read_text() == "kept"
    assert "Traceback" not in log.read_text()[before:]


def every_address() -> list[tuple[str, str]]:
    """(method, address) of every route that the service has, made from its own tables."""
    from ark_extensions.netdisk import api, api_kept, contents

    samples = {"([0-9a-f]{16})": "0" * 16, "([A-Za-z0-9]{1,40})": "t1", "(.+)": "some/file"}
    found = []
    for pattern, handler in [*api.ROUTES, *api_kept.ROUTES, *contents.ROUTES]:
        address = pattern.removeprefix("/services/netdisk")
        for group, sample in samples.items():
            address = address.replace(group, sample)
        made = [m for m in ("GET", "POST", "PUT", "DELETE") if "_unimplemented" not in getattr(handler, m.lower()).__qualname__]
        found += [(method, address) for method in made]
    dav = ("GET", "PUT", "DELETE", "MKCOL", "PROPFIND", "PROPPATCH", "COPY", "MOVE", "LOCK", "UNLOCK")
    found += [(method, "/dav/some/file") for method in dav]
    return [*found, ("POST", "/tus/"), ("HEAD", "/tus/" + "0" * 32), ("PATCH", "/tus/" + "0" * 32), ("DELETE", "/tus/" + "0" * 32)]


@pytest.mark.parametrize("method, address", every_address())
def test_no_address_opens_without_the_right_to_it(server: Server, method: str, address: str) -> None:
    (server.data() / "some").mkdir()
    (server.data() / "some/file").write_text("secret")
    tus = {"Tus-Resumable": "1.0.0", "Upload-Length": "1"}
    for token, status in (("", 401), ("token invented", 401), (f"token foreign-{server.user}", 403), ("Basic eDp5", 401)):
        answer = ask(server, method, address, headers={"Authorization": token, **tus})
        assert answer.status == status and b"secret" not in answer.body, (method, address, token)
    another = ask(server, method, address, headers={"Authorization": "token token-stranger", **tus})
    assert b"secret" not in another.body
    assert (server.data() / "some/file").read_text() == "secret" and len(list(server.data().rglob("*"))) == 2
