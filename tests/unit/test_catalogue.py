"""Offers fit the machine they are made for; a directory's survey takes over what is in it and nothing else."""

from __future__ import annotations

import os
from decimal import Decimal
from pathlib import Path

import pytest
import yaml

from ark_extensions.catalogue.demo import CATALOG_FILE, demo_catalog
from ark_extensions.catalogue.offers import cpu_offers, gpu_offers, monthly_offers
from ark_extensions.catalogue.survey import Entry, content_hash, hash_entry, survey
from ark_extensions.domain.errors import InvalidField
from ark_extensions.domain.offers import Node, Quantities, fits

RULES = yaml.safe_load(CATALOG_FILE.read_text())
GIB = 1024


@pytest.mark.parametrize(
    ("vcpu", "memory_mib", "expected"),
    [
        (1, 1 * GIB, [(1, 1 * GIB)]),
        (2, 23081, [(1, 8 * GIB), (2, 16 * GIB)]),
        (6, 13 * GIB, [(1, 2 * GIB), (2, 4 * GIB), (4, 8 * GIB), (6, 12 * GIB)]),
        (16, 120 * GIB, [(n, n * 7 * GIB) for n in (1, 2, 4, 8, 16)]),
        (4, 100, []),
    ],
)
def test_cpu_offers_go_up_to_the_whole_machine(vcpu: int, memory_mib: int, expected: list[tuple[int, int]]) -> None:
    node = Node("local", vcpu, memory_mib)
    offers = cpu_offers([node], RULES["cpu"])
    assert [(o["vcpu"], o["memory_mib"]) for o in offers] == expected
    assert all(fits(node, Quantities(o["vcpu"], o["memory_mib"], o["system_disk_gib"])) >= 1 for o in offers)
    assert len({o["id"] for o in offers}) == len(offers)


def test_gpu_offers_are_one_for_each_model_and_power_of_two() -> None:
    gpus = (*((str(n), "H200") for n in range(6)), ("6", "RTX 4090"), ("7", "RTX 4090"))
    node = Node("local", 64, 512 * GIB, gpus)
    offers = gpu_offers([node], {"H200": 141, "RTX 4090": 24}, RULES["gpu"])
    assert [(o["id"], o["price"]) for o in offers] == [
        ("h200-1-8c-64g", "22.00"),
        ("h200-2-16c-128g", "44.00"),
        ("h200-4-32c-256g", "88.00"),
        ("rtx-4090-1-8c-64g", "2.20"),
        ("rtx-4090-2-16c-128g", "4.40"),
    ]
    assert offers[1]["name"] == "H200 × 2 · 16 vCPU · 128 GiB"
    assert offers[1]["gpu_memory_gib"] == 141
    for o in offers:
        assert fits(node, Quantities(o["vcpu"], o["memory_mib"], 0, o["gpu_model"], o["gpu_count"])) >= 1


def test_a_gpu_is_sold_where_processors_are_few_or_its_price_unknown() -> None:
    offers = gpu_offers([Node("local", 2, 16 * GIB, tuple((str(n), "Whizz 9") for n in range(4)))], {"Whizz 9": 32}, RULES["gpu"])
    assert [(o["vcpu"], o["gpu_count"], o["price"]) for o in offers] == [(1, 1, "2.56"), (2, 2, "5.12")]
    # H20 must not be taken for H200, nor A10 for A100
    names = {o["gpu_model"]: o["price"] for o in gpu_offers([Node("n", 8, 64 * GIB, (("0", "H20"), ("1", "A10")))], {}, RULES["gpu"])}
    assert names == {"H20": "9.00", "A10": "2.20"}
    assert gpu_offers([], {}, RULES["gpu"]) == [] == cpu_offers([], RULES["cpu"])


def test_the_catalogue_file_is_whole() -> None:
    catalog = demo_catalog(RULES, [Node("local", 4, 32 * GIB, (("0", "H200"),))], {"H200": 141})
    assert {image["reference"] for image in catalog["images"]} == {"workspace", "pytorch"}
    assert [disk["size_gib"] for disk in catalog["disks"]] == [200, 500]
    plans = {"payg": "hour", "monthly": "month"}
    assert all(Decimal(o["price"]) > 0 and o["per"] == plans[o["plan"]] for o in catalog["offers"])
    assert len({o["id"] for o in catalog["offers"]}) == len(catalog["offers"])


def test_each_offer_is_sold_by_the_month_for_the_price_of_some_hours() -> None:
    hourly = gpu_offers([Node("local", 8, 64 * GIB, (("0", "H200"),))], {"H200": 141}, RULES["gpu"])
    [by_month] = monthly_offers(hourly, RULES["monthly"])
    assert (by_month["id"], by_month["price"], by_month["per"]) == ("h200-1-8c-64g-monthly", "8800.00", "month")
    same = ("name", "vcpu", "memory_mib", "system_disk_gib", "gpu_model", "gpu_count", "gpu_memory_gib")
    assert all(by_month[key] == hourly[0][key] for key in same)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    top = tmp_path / "source"
    (top / "b").mkdir(parents=True)
    (top / "b" / "one.txt").write_text("1")
    (top / "a.sh").write_text("#!/bin/sh\n")
    (top / "a.sh").chmod(0o755)
    (top / "花.png").write_bytes(b"png")
    (top / "b" / "link").symlink_to(top / "a.sh")
    (top / "empty").mkdir()
    return top


def test_a_survey_lists_files_and_inner_links(source: Path) -> None:
    assert survey(source) == [
        Entry("a.sh", 10, executable=True),
        Entry("b/link", 0, link="../a.sh"),
        Entry("b/one.txt", 1),
        Entry("花.png", 3),
    ]


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda top: (top / "out").symlink_to("/etc/passwd"), "out is a link that leaves the directory"),
        (lambda top: (top / "out").symlink_to("../other"), "out is a link"),
        (lambda top: (top / "up").symlink_to(".."), "up is a link that leaves the directory"),
        (lambda top: (top / "gone").symlink_to("nothing"), "gone is a link to nothing"),
        (lambda top: (top / "loop").symlink_to("loop"), "loop is a link to nothing"),
        (lambda top: os.mkfifo(top / "b" / "pipe"), "b/pipe is a device, a pipe or a socket"),
        (lambda top: (top / "two\nlines").write_text(""), "line break"),
        (lambda top: open(os.fsencode(top) + b"/\xff", "w").close(), "not UTF-8"),
    ],
)
def test_what_cannot_be_taken_over_is_refused_by_name(source: Path, damage, sentence: str) -> None:
    damage(source)
    with pytest.raises(InvalidField, match=sentence):
        survey(source)


def test_nothing_to_import_is_said(tmp_path: Path) -> None:
    with pytest.raises(InvalidField, match="is not a directory"):
        survey(tmp_path / "none")
    (tmp_path / "empty" / "inner").mkdir(parents=True)
    with pytest.raises(InvalidField, match="has no files"):
        survey(tmp_path / "empty")


def test_the_content_hash_depends_on_content_only(source: Path, tmp_path: Path) -> None:
    def named(top: Path) -> str:
        entries = survey(top)
        return content_hash(entries, [hash_entry(top, e, lambda block: None) for e in entries])

    before = named(source)
    os.utime(source / "a.sh", (1, 1))
    twin = tmp_path / "twin"
    os.rename(source, twin)
    (twin / "b" / "link").unlink()
    (twin / "b" / "link").symlink_to("../a.sh")
    assert named(twin) == before
    (twin / "a.sh").rename(twin / "c.sh")
    (twin / "b" / "link").unlink()
    assert named(twin) != before


def test_a_file_that_changes_meanwhile_is_noticed(source: Path) -> None:
    for size in (5, 50):
        with pytest.raises(InvalidField, match="changed during the import"):
            hash_entry(source, Entry("a.sh", size), lambda block: None)
    os.mkfifo(source / "pipe")
    with pytest.raises(InvalidField, match="changed during the import"):
        hash_entry(source, Entry("pipe", 0), lambda block: None)
    with pytest.raises(InvalidField, match="cannot be read"):
        hash_entry(source, Entry("b/link", 10), lambda block: None)
