"""C2SP tlog-tiles line by line, over a real socket: what the log answers, and what it does not."""

import gzip
from collections.abc import Iterator

import pytest

from ledger.log import merkle, tiles
from ledger.log.checkpoint import open_checkpoint
from ledger.log.note import NoteVerifier
from tests.api.harness import assert_problem
from tests.api.logged import Logged, logged

YEAR = "public, max-age=31536000, immutable"
OCTETS = "application/octet-stream"


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Logged]:
    with logged(tmp_path_factory.mktemp("log")) as log:
        yield log


def tile(log: Logged, level: int | str, n: int, width: int = 256) -> bytes:
    answer = log.get(f"/log/{tiles.tile_path(level, n, width)}")  # type: ignore[arg-type]
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == OCTETS
    assert answer.headers["cache-control"] == YEAR
    assert int(answer.headers["content-length"]) == len(answer.content)
    return answer.content


# -- checkpoint -------------------------------------------------------------------------------


def test_checkpoint_is_text_that_no_cache_keeps_and_the_log_has_signed_it(log: Logged):
    answer = log.get("/log/checkpoint")
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.headers["cache-control"] == "no-cache"
    vkey = log.get("/v1/ledger").json()["vkey"]
    verifier = NoteVerifier(vkey)
    checkpoint, signatures = open_checkpoint(answer.content, verifier.name, [verifier])
    assert checkpoint == log.newest
    # Ed25519 by the log itself, which is what the public witness network asks for; no extensions.
    assert verifier.vkey.signature_type == 0x01
    assert [line.name for line in signatures] == [checkpoint.origin]
    assert checkpoint.extensions == ()


@pytest.mark.parametrize("path", ["/log/checkpoint/", "/log/Checkpoint", "/log/", "/log"])
def test_there_is_one_address_of_the_checkpoint(log: Logged, path: str):
    assert_problem(log.get(path), 404, "not-found")


# -- tiles of every published size ---------------------------------------------------------------


def test_tiles_and_bundles_of_every_published_size_lead_to_its_root(log: Logged):
    for checkpoint in log.checkpoints:
        leaves, entries = b"", []
        for level, full, partial in tiles.tiles_for_size(checkpoint.size):
            for n, width in [*((n, 256) for n in range(full)), (full, partial)]:
                if width == 0:
                    continue
                data = tile(log, level, n, width)
                assert len(data) == 32 * width
                if level == 0:
                    leaves += data
                    entries += tiles.entry_bundle_decode(tile(log, "entries", n, width), width)
                else:
                    below = tile(log, level - 1, 0)
                    assert data[:32] == merkle.root_from_leaves(merkle.split_hashes(below))
        hashes = merkle.split_hashes(leaves)
        assert [merkle.leaf_hash(entry) for entry in entries] == list(hashes)
        assert merkle.root_from_leaves(hashes) == checkpoint.root


def test_every_narrower_width_is_a_prefix_of_the_full_tile(log: Logged):
    """So whoever finds a partial tile gone elsewhere may take the full one here, and vice versa."""
    full, bundle = tile(log, 0, 0), tiles.entry_bundle_decode(tile(log, "entries", 0))
    assert len(full) == 8_192
    for width in (1, 2, 100, 255):
        assert tile(log, 0, 0, width) == full[: 32 * width]
        assert tiles.entry_bundle_decode(tile(log, "entries", 0, width)) == bundle[:width]


def test_what_the_newest_checkpoint_does_not_cover_is_not_there_yet(log: Logged):
    size = log.newest.size
    n, width = divmod(size, 256)
    log.grow()
    paths = [
        f"0/00{n}.p/{width + 1}",
        f"entries/00{n}.p/{width + 1}",
        f"0/00{n}",
        f"entries/00{n}",
        f"0/00{n + 1}.p/1",
        "1/000.p/2",
        "1/000",
        "2/000.p/1",
        "6/000.p/1",
        "7/x001/x234/067",
        "63/000",
        "0/x001/000",
        "entries/x036/x028/x797/x018/x963/967",
    ]
    for path in paths:
        answer = log.get(f"/log/tile/{path}")
        assert_problem(answer, 404, "tile-unknown")
        assert answer.headers["cache-control"] == "no-store"
        assert "etag" not in answer.headers
    log.publish()
    for path in paths[:2]:
        assert log.get(f"/log/tile/{path}").status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "0/000.p/0",  # an empty tile is never served
        "0/000.p/256",  # a full one has no width
        "0/000.p/01",
        "0/000.p/",
        "0/000.p",
        "0/000.P/1",
        "0/000/",
        "0/000/.p/1",
        "/0/000",
        "0//000",
        "00/000",
        "64/000",
        "-1/000",
        "0/0",
        "0/00",
        "0/0000",
        "0/x000/000",
        "0/X001/000",
        "0/001/000",
        "0/x001",
        "0/x001/",
        "0/%30%30%30%0A",
        "0/%D9%A0%D9%A0%D9%A0",
        "Entries/000",
        "ENTRIES/000",
        "entries",
        "entries/",
        "entries/000.p/0",
        "entries/000/",
        "data/000",
        "0",
        "",
    ],
)
def test_any_other_spelling_names_no_tile(log: Logged, path: str):
    answer = log.get(f"/log/tile/{path}")
    assert answer.status_code in (400, 404), answer.text
    assert answer.json()["reason"] in ("tile-path-malformed", "not-found")
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_the_log_is_only_read(log: Logged, method: str):
    for path in ("/log/checkpoint", "/log/tile/0/000"):
        answer = log.get(path, method)
        assert_problem(answer, 405, "method-not-allowed")
        assert answer.headers["allow"] == "GET, HEAD"


# -- compression ------------------------------------------------------------------------------


def test_entry_bundles_are_compressed_for_whoever_takes_gzip(log: Logged):
    path = "/log/tile/entries/000"
    plain = log.get(path)
    assert "content-encoding" not in plain.headers
    for wish in ("gzip", "identity;q=0.5, gzip", "gzip, identity", "*"):
        with log.http.stream("GET", path, headers={"Accept-Encoding": wish}) as packed:
            raw = b"".join(packed.iter_raw())
        assert packed.headers["content-encoding"] == "gzip"
        assert int(packed.headers["content-length"]) == len(raw) < len(plain.content)
        assert gzip.decompress(raw) == plain.content
        assert packed.headers["vary"] == plain.headers["vary"] == "Accept-Encoding"
        assert packed.headers["content-type"] == OCTETS
        assert packed.headers["cache-control"] == YEAR
        assert packed.headers["etag"] != plain.headers["etag"]


@pytest.mark.parametrize(
    "wish", ["", "identity", "gzip;q=0", "*;q=0", "br", "gzip;q=0.1, identity"]
)
def test_entry_bundles_are_not_compressed_for_others(log: Logged, wish: str):
    answer = log.get("/log/tile/entries/000.p/9", Accept_Encoding=wish)
    assert "content-encoding" not in answer.headers
    assert answer.headers["vary"] == "Accept-Encoding"
    assert len(tiles.entry_bundle_decode(answer.content)) == 9


@pytest.mark.parametrize("path", ["/log/checkpoint", "/log/tile/0/000", "/log/tile/1/000.p/1"])
def test_hashes_and_signatures_are_not_compressed(log: Logged, path: str):
    answer = log.get(path, Accept_Encoding="gzip")
    assert "content-encoding" not in answer.headers
    assert "vary" not in answer.headers


# -- what a client holds already --------------------------------------------------------------


@pytest.mark.parametrize("coding", ["identity", "gzip"])
@pytest.mark.parametrize(
    "path", ["/log/checkpoint", "/log/tile/0/000", "/log/tile/entries/000", "/log/tile/0/001.p/2"]
)
def test_whoever_holds_the_bytes_is_not_sent_them_again(log: Logged, path: str, coding: str):
    whole = log.get(path, Accept_Encoding=coding)
    tag = whole.headers["etag"]
    for method in ("GET", "HEAD"):
        for held in (tag, f"W/{tag}", f'"other", {tag}', "*"):
            answer = log.get(path, method, Accept_Encoding=coding, If_None_Match=held)
            assert (answer.status_code, answer.content) == (304, b"")
            for name in ("etag", "cache-control", "vary"):
                assert answer.headers.get(name) == whole.headers.get(name)
        answer = log.get(path, method, Accept_Encoding=coding, If_None_Match='"other"')
        assert answer.status_code == 200


def test_a_new_checkpoint_has_another_tag(log: Logged):
    before = log.get("/log/checkpoint").headers["etag"]
    log.grow()
    log.publish()
    answer = log.get("/log/checkpoint", If_None_Match=before)
    assert answer.status_code == 200
    assert answer.headers["etag"] != before


@pytest.mark.parametrize("coding", ["identity", "gzip"])
@pytest.mark.parametrize(
    "path", ["/log/checkpoint", "/log/tile/0/000", "/log/tile/entries/000", "/log/tile/9/000"]
)
def test_head_is_get_without_the_bytes(log: Logged, path: str, coding: str):
    whole = log.get(path, Accept_Encoding=coding)
    head = log.get(path, "HEAD", Accept_Encoding=coding)
    assert head.content == b""
    dated = {"date": ""}
    assert head.status_code == whole.status_code
    assert {**head.headers, **dated} == {**whole.headers, **dated}
