"""Published inclusion, consistency and subtree cases of another log library, happy and must-fail.

Where this project is stricter, the case is listed with its reason.

Size 0: that library refuses every consistency claim from size 0, this project follows C2SP
tlog-witness and takes one with the empty root, an empty proof and any second root (see
``test_size_zero_follows_tlog_witness``). None of the published cases shows the difference: each
from size 0 also has a proof, or texts of 12 bytes in place of roots.
"""

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ledger.errors import Refused
from ledger.log import proofs
from tests.vectors import vectors_dir

ROOT = vectors_dir() / "transparency-dev-merkle" / "testdata"

STRICTER = {
    # The "roots" of these are texts of 12 bytes; a root has 32 here.
    "consistency/additional/sizes-are-equal-one-and-proof-is-empty",
    "subtreeconsistency/additional/sizes-are-equal-one-and-proof-is-empty",
    # An empty range of leaves is no subtree here: there is nothing that it could prove.
    "subtreeconsistency/additional/subtree-is-empty-subtree-root-valid-proof-is-empty",
    "subtreeconsistency/additional/"
    "subtree-is-empty-subtree-root-valid-tree-root-random-proof-is-empty",
    "subtreeconsistency/additional/"
    "subtree-is-empty-sizes-are-equal-one-subtree-root-valid-proof-is-empty",
    "subtreeconsistency/additional/"
    "subtree-is-empty-sizes-are-equal-one-subtree-root-valid-tree-root-random-proof-is-empty",
    "subtreeconsistency/additional/"
    "subtree-is-empty-sizes-are-equal-zero-subtree-root-valid-proof-is-empty",
    "subtreeconsistency/additional/"
    "subtree-is-empty-sizes-are-equal-zero-subtree-root-valid-tree-root-random-proof-is-empty",
}
"""Accepted there, refused here."""


def cases(folder: str) -> list[Any]:
    found = []
    for path in sorted((ROOT / folder).rglob("*.json")):
        case = json.loads(path.read_text())
        found.append(pytest.param(case, id=_name(path)))
    return found


def _name(path: Path) -> str:
    return path.relative_to(ROOT).with_suffix("").as_posix()


def _hashes(texts: list[str] | None) -> list[bytes]:
    return [base64.b64decode(text) for text in texts or []]


def is_accepted(verify: Callable[..., None], *claim: Any) -> bool:
    try:
        verify(*claim)
    except Refused:
        return False
    return True


def inclusion_is_accepted(case: dict[str, Any], size: int) -> bool:
    leaf, root = _hashes([case["leafHash"], case["root"]])
    proof = _hashes(case["proof"])
    return is_accepted(proofs.verify_inclusion, leaf, case["leafIdx"], size, proof, root)


def consistency_is_accepted(case: dict[str, Any], size1: int, size2: int) -> bool:
    roots = _hashes([case["root1"], case["root2"]])
    return is_accepted(proofs.verify_consistency, size1, size2, *roots, _hashes(case["proof"]))


def expected(name: str, case: dict[str, Any]) -> bool:
    if name in STRICTER:
        assert not case["wantErr"]
        return False
    return not case["wantErr"]


@pytest.mark.parametrize("case", cases("inclusion"))
def test_inclusion(case: dict[str, Any], request: pytest.FixtureRequest) -> None:
    name = request.node.callspec.id
    assert inclusion_is_accepted(case, case["treeSize"]) is expected(name, case)


@pytest.mark.parametrize("case", cases("consistency"))
def test_consistency(case: dict[str, Any], request: pytest.FixtureRequest) -> None:
    name = request.node.callspec.id
    accepted = consistency_is_accepted(case, case["size1"], case["size2"])
    assert accepted is expected(name, case)


@pytest.mark.parametrize("case", cases("subtreeinclusion"))
def test_inclusion_in_a_subtree(case: dict[str, Any], request: pytest.FixtureRequest) -> None:
    name = request.node.callspec.id
    leaf, root = _hashes([case["leafHash"], case["root"]])
    place = (case["leafIdx"], case["start"], case["end"])
    proof = _hashes(case["proof"])
    accepted = is_accepted(proofs.verify_subtree_inclusion, leaf, *place, proof, root)
    assert accepted is expected(name, case)


@pytest.mark.parametrize("case", cases("subtreeconsistency"))
def test_consistency_of_a_subtree(case: dict[str, Any], request: pytest.FixtureRequest) -> None:
    name = request.node.callspec.id
    place = (case["start"], case["end"], case["size"])
    roots = _hashes([case["root1"], case["root2"]])
    accepted = is_accepted(proofs.verify_subtree, *place, *roots, _hashes(case["proof"]))
    assert accepted is expected(name, case)


def test_size_zero_follows_tlog_witness() -> None:
    name = "consistency/additional/size1-is-zero-and-size2-is-not-zero"
    case = json.loads((ROOT / f"{name}.json").read_text())
    assert not consistency_is_accepted(case, 0, 1)
    case["root2"] = base64.b64encode(bytes(32)).decode()
    assert consistency_is_accepted(case, 0, 1)


def test_every_published_case_is_there() -> None:
    counts = {folder.name: len(cases(folder.name)) for folder in ROOT.iterdir()}
    assert counts == {
        "inclusion": 98,
        "consistency": 98,
        "subtreeinclusion": 204,
        "subtreeconsistency": 118,
    }
