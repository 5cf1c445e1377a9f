"""The page on bundles says what the code does."""

import re
from pathlib import Path

from ledger.bundle import format as form
from ledger.bundle.findings import Fault
from ledger.protocol import cbor
from ledger.protocol.statements import MAX_STATEMENT_BYTES
from ledger.values import SubjectKind
from tests.bundle.test_format import head

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "bundle.md").read_text()


def section(title: str) -> str:
    return PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]


def test_every_finding_is_explained():
    table = re.findall(r"^\| `([a-z-]+)` \|", section("Checking"), re.MULTILINE)
    assert table == [fault.value for fault in Fault]


def test_the_head_has_the_members_of_the_grammar():
    grammar = section("Format").split("head = {")[1].split("}\n")[0]
    assert set(re.findall(r'^  "(\w+)":', grammar, re.MULTILINE)) == set(head())
    assert f'"format": "{form.FORMAT}"' in grammar
    assert f'"version": {form.VERSION},' in grammar


def test_the_kinds_of_subject_are_those_of_the_code():
    line = next(line for line in PAGE.splitlines() if line.startswith("chain = "))
    assert re.findall(r'"(\w+)"', line) == [kind.value for kind in SubjectKind]


def test_the_limits_are_those_of_the_code():
    text = section("Format")
    for limit in (
        form.MAX_BUNDLE_BYTES,
        form.MAX_HEAD_BYTES,
        form.MAX_PIECES,
        form.MAX_PIECE_BYTES,
        form.MAX_CHAINS,
        MAX_STATEMENT_BYTES,
        form.MAX_LINKS,
    ):
        assert re.search(rf"(?<![\d,]){limit:,}(?!,?\d)", text), limit
    assert f"1*{form.MAX_PIECE_ENTRIES} entry" in text
    assert form.MAX_NUMBER == 2**63 - 1


def test_suffix_and_media_type_are_those_of_the_code():
    assert f"`{form.FILE_SUFFIX}`" in PAGE
    assert f"`{form.MEDIA_TYPE}`" in PAGE


def test_an_entry_on_the_page_is_one_of_the_code():
    row = [0, 0, "x", [[0, 0], [bytes(32), 1, bytes(32)]], [bytes(32)]]
    assert form.entry(cbor.decode(cbor.encode(row), max_size=200)).plain == row
