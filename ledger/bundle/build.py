"""Putting a bundle together from entries and the trees that prove them. Pure."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ledger.bundle import multiproof
from ledger.bundle.format import Bundle, ChainHead, Entry, Head, Other, Own
from ledger.bundle.leaves import ChainWalk
from ledger.errors import IntegrityError, Reason, Refused
from ledger.log.chain import Leaf, decode_leaf
from ledger.log.headsmap import bucket_of
from ledger.log.merkle import Nodes
from ledger.log.proofs import consistency_proof
from ledger.values import ZERO_DIGEST, SubjectKind

GetBuckets = Callable[[Sequence[int]], Sequence[bytes]]


@dataclass(frozen=True, slots=True)
class Stored:
    """An entry as a ledger keeps it: index, leaf, and the statement where it may be shown."""

    index: int
    leaf: bytes
    body: bytes | None


@dataclass(frozen=True, slots=True)
class Chain:
    """Entries of one subject that the bundle shows: all of them, or a run without holes."""

    kind: SubjectKind
    ident: bytes
    whole: bool
    entries: Sequence[Stored]


@dataclass(frozen=True, slots=True)
class Trees:
    """The log's tree at the checkpoint's size, and the heads map of the index-root before it."""

    size: int
    log_nodes: Nodes
    bucket_bits: int
    get_buckets: GetBuckets
    map_nodes: Nodes


def build(
    ueid: bytes,
    checkpoint: bytes,
    chains: Sequence[Chain],
    index_root: Stored,
    trees: Trees,
    since: Sequence[int] = (),
) -> Bundle:
    """A bundle under ``checkpoint`` (the signed note, cosignatures included).

    ``chains``: the chip's and the authority's first, both whole, then runs: of each party and
    licence that the life refers to its registration, of the ledger its epochs. ``since``: earlier
    sizes of the log to prove consistency from. Refuses (PROOF_INVALID) sizes that are too large.
    IntegrityError where the entries do not chain.
    """
    walks = [_walk(chain) for chain in chains]
    leaves = {item.index: decode_leaf(item.leaf) for chain in chains for item in chain.entries}
    stored = {item.index: item for chain in chains for item in chain.entries}
    numbers = {walk.key: number for number, walk in enumerate(walks)}
    spans = [(w.first, w.first + len(c.entries)) for w, c in zip(walks, chains, strict=True)]
    entries = [_entry(stored[index], leaves[index], numbers, spans) for index in sorted(stored)]
    entries.append(_entry(index_root, decode_leaf(index_root.leaf), {}, []))
    included = {0, index_root.index}
    included |= {c.entries[-1].index for c in chains if not c.whole}
    whole = sorted({bucket_of(w.key, trees.bucket_bits) for w in walks if w.whole})
    head = Head(
        ueid,
        checkpoint,
        tuple(ChainHead(w.kind, w.ident, w.first, w.before, w.whole) for w in walks),
        multiproof.prove(trees.log_nodes, sorted(included), trees.size),
        tuple(trees.get_buckets(whole)),
        multiproof.prove(trees.map_nodes, whole, 1 << trees.bucket_bits),
        {size: _consistency(trees, size) for size in since},
    )
    return Bundle.of(head, entries)


def _walk(chain: Chain) -> ChainWalk:
    """Where a run begins: its first entry's number, and the leaf hash before it."""
    walk = ChainWalk(chain.kind, chain.ident, 0, ZERO_DIGEST, chain.whole)
    if not chain.entries:
        if not chain.whole:
            raise IntegrityError(f"no entry of {walk.name} was found")
        return walk
    for link in decode_leaf(chain.entries[0].leaf).links:
        if link.subject == walk.key:
            return ChainWalk(chain.kind, chain.ident, link.seq, link.prev, chain.whole)
    raise IntegrityError(f"entry {chain.entries[0].index} is not filed under {walk.name}")


def _entry(
    stored: Stored, leaf: Leaf, numbers: dict[bytes, int], spans: Sequence[tuple[int, int]]
) -> Entry:
    links: list[Own | Other] = []
    for link in leaf.links:
        number = numbers.get(link.subject)
        if number is not None and spans[number][0] <= link.seq < spans[number][1]:
            links.append(Own(number, link.seq))
        else:
            links.append(Other(*link))
    return Entry(
        stored.index, leaf.received_ms, leaf.kind, tuple(links), stored.body, leaf.statement_digest
    )


def _consistency(trees: Trees, size: int) -> bytes:
    if not 0 < size < trees.size:
        raise Refused(
            Reason.PROOF_INVALID, f"an earlier size lies between 0 and {trees.size}", field="since"
        )
    return b"".join(consistency_proof(trees.log_nodes, size, trees.size))
