"""The netdisk's rules: which paths there are, what fits, how headers are read. Pure functions."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ark_extensions.domain import files
from ark_extensions.domain.errors import ArkError, InvalidField, Malformed
from ark_extensions.domain.files import Full, Limits, Usage
from ark_extensions.netdisk import conditions
from ark_extensions.netdisk.tus_files import parse_metadata

HOSTS = frozenset({"ark.example"})


@pytest.mark.parametrize("text", ["..", "a/../b", "./a", "a/.", "a\0b", "x" * 256, "/".join("d" * 101), "é" * 128, "\ud800"])
def test_paths_that_name_nothing(text: str) -> None:
    with pytest.raises(InvalidField):
        files.parse_path(text)


@pytest.mark.parametrize("text, path", [("", ""), ("/", ""), ("//a///b/", "a/b"), ("...", "..."), ("a/..b", "a/..b"), ("数据", "数据")])
def test_a_path_has_one_spelling(text: str, path: str) -> None:
    assert files.parse_path(text) == path


def test_bytes_that_are_no_utf8_have_one_path_too() -> None:
    assert files.parse_path("\udcc3\udca9") == "é", "another spelling of the same bytes"
    assert files.decode_url_path("%FF%FE") == "\udcff\udcfe" and files.encode_url_path("\udcff\udcfe") == "%FF%FE"


@pytest.mark.parametrize("quoted", ["a%2Fb", "a%2fb", "%2e%2e/x", "..%2f", "%00", "a/%2E%2e"])
def test_percent_encoding_hides_nothing(quoted: str) -> None:
    with pytest.raises(InvalidField):
        files.decode_url_path(quoted)


@given(st.binary(min_size=1, max_size=40).filter(lambda raw: raw not in (b".", b"..") and b"/" not in raw and b"\0" not in raw))
def test_every_name_comes_back_from_every_coding(raw: bytes) -> None:
    name = os.fsdecode(raw)
    assert files.parse_path(name) == name
    assert files.decode_url_path(files.encode_url_path(name)) == name
    assert files.from_stored(files.stored(name)) == name and files.stored(name).isascii()


@given(st.text(max_size=60))
def test_a_zip_entry_stays_below_its_folder(text: str) -> None:
    name = files.zip_name("folder/" + text)
    assert name.startswith("folder/") and "\\" not in name and ":" not in name
    assert all(part.strip(" .") for part in name.split("/"))


@pytest.mark.parametrize(
    "name, number, folder, other",
    [
        ("a.txt", 2, False, "a (2).txt"),
        ("a.tar.gz", 3, False, "a (3).tar.gz"),
        (".bashrc", 2, False, ".bashrc (2)"),
        ("v1.2", 2, True, "v1.2 (2)"),
    ],
)
def test_another_name(name: str, number: int, folder: bool, other: str) -> None:
    assert files.another_name(name, number, folder=folder) == other


def test_another_name_of_the_longest_name_is_a_name() -> None:
    assert len(os.fsencode(files.another_name("数" * 85, 2))) <= 255
    assert len(os.fsencode(files.another_name("数" * 83 + ".txt", 12))) <= 255


def test_what_fits() -> None:
    limits = Limits(bytes=100, files=10, free_bytes=40)
    files.check_fits(Usage(50, 5), Usage(20, 1), limits, Usage(30, 1))
    with pytest.raises(Full):
        files.check_fits(Usage(50, 5), Usage(20, 1), limits, Usage(31, 1))
    with pytest.raises(Full) as refused:
        files.check_fits(Usage(0, 9), Usage(0, 1), limits, Usage(0, 1))
    assert refused.value.code == "netdisk_files"
    files.check_fits(Usage(500, 5), Usage(0, 0), limits, Usage(0, 0))
    assert files.billable_bytes(39, limits) == 0 and files.billable_bytes(100, limits) == 60


def test_checksums() -> None:
    assert files.parse_checksum("SHA1:" + "AB" * 20) == files.Checksum("sha1", "ab" * 20)
    assert files.parse_checksum("ADLER32:1234 MD5:" + "0" * 32) == files.Checksum("md5", "0" * 32)
    assert files.parse_checksum("XXH3:1") is None
    for bad in ("SHA1:zz", "MD5:" + "0" * 31):
        with pytest.raises(Malformed):
            files.parse_checksum(bad)


@pytest.mark.parametrize(
    "url", ["http://other/services/netdisk/dav/a", "x", "", "//ark.example/services/netdisk/dav/a", "/services/netdisk/other/a",
            "/services/netdisk/dav/../a", "http://ark.example:99/services/netdisk/dav/a", "/services/netdisk/dav/a b", "http://[bad/"],
)  # fmt: skip
def test_destinations_elsewhere_are_refused(url: str) -> None:
    with pytest.raises(ArkError):
        conditions.path_of_url(url, HOSTS)


def test_destinations_here() -> None:
    assert conditions.path_of_url("https://ark.example/services/netdisk/dav/a%20b/", HOSTS) == "a b"
    assert conditions.path_of_url("/services/netdisk/dav/", HOSTS) == ""


def test_an_if_header() -> None:
    lists = conditions.parse_if('</services/netdisk/dav/a> (<urn:uuid:1> ["x"]) (Not <DAV:no-lock>)', HOSTS)
    assert [one.resource for one in lists] == ["a", "a"]
    assert conditions.submitted_tokens(lists) == {"urn:uuid:1", "DAV:no-lock"} and lists[1].conditions[0].negated
    for bad in ("(", "()", "(<a>", "x", "(<a>) </services/netdisk/dav/a>(<b>)", "(Not)", "<http://other/x> (<a>)", "(Not Not <a>)"):
        with pytest.raises(ArkError):
            conditions.parse_if(bad, HOSTS)


@pytest.mark.parametrize(
    "header, span", [("bytes=0-9", (0, 10)), ("bytes=5-", (5, 100)), ("bytes=-10", (90, 100)), ("bytes=90-500", (90, 100)), (None, None),
                     ("bytes=1-2,4-5", None), ("bytes=-", None), ("items=1-2", None), ("bytes=9-3", None)],
)  # fmt: skip
def test_ranges(header: str | None, span: tuple[int, int] | None) -> None:
    assert conditions.parse_range(header, 100) == span


@pytest.mark.parametrize("header", ["bytes=100-", "bytes=500-600", "bytes=-0"])
def test_ranges_that_cannot_be_met(header: str) -> None:
    with pytest.raises(ValueError):
        conditions.parse_range(header, 100)


def test_tus_metadata() -> None:
    assert parse_metadata("path YS9i, empty ,x ") == {"path": "a/b", "empty": "", "x": ""}
    for bad in ("path !!", "path YQ==,path YQ==", "a b c"):
        with pytest.raises(Malformed):
            parse_metadata(bad)
