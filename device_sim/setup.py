"""Brings a ledger to where the scenario can begin: genesis, parties, licences, policy.

Idempotent: what stands on the ledger already is left as it is. A ledger of another authority,
or one that has seen this very seed, is refused before anything of the run is sent.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from device_sim.authority import Authority
from device_sim.gateway import Gateway, ResultView, find_device
from device_sim.world import World
from ledger.errors import ConfigurationError, Reason
from ledger.values import MILLIS_PER_SECOND

_THERE_ALREADY = frozenset(
    {Reason.PARTY_REGISTERED, Reason.LICENCE_REGISTERED, Reason.POLICY_VERSION, Reason.DUPLICATE}
)


def prepare(
    world: World, gateway: Gateway, facts: Mapping[str, Any], base_ms: int
) -> tuple[list[str], bool]:
    """Post what the ledger lacks.

    Returns notes on what was left as it stood, and whether licences of an earlier run are among it.
    """
    authority = Authority(world.scenario, world.parties)
    iat = base_ms // MILLIS_PER_SECOND
    is_new = facts["genesis"] is None
    if is_new:
        _require(gateway.post_statements([authority.genesis(facts, iat)]), "the genesis")
    else:
        _refuse_same_seed(world, gateway)
    tokens = [
        *authority.parties(iat),
        *authority.licences(iat, world.timeline),
        authority.policy(iat),
    ]
    if not is_new:
        tokens += authority.officers(iat)
    kept = _require(gateway.post_statements(tokens), "the scenario's parties")
    return [] if is_new else _notes(kept), Reason.LICENCE_REGISTERED in kept


def _refuse_same_seed(world: World, gateway: Gateway) -> None:
    first = world.chips[0]
    if find_device(gateway, first.ueid.hex()) is not None:
        raise ConfigurationError(
            f"seed {world.scenario.seed} has run on this ledger already; "
            "choose another seed or a new ledger"
        )


def _require(results: Sequence[ResultView], what: str) -> list[Reason]:
    """Reasons for which something was there already; any other refusal ends the run."""
    kept = []
    for result in results:
        if result.status == "accepted":
            continue
        if result.reason == Reason.KEY_UNKNOWN:
            raise ConfigurationError(
                "this ledger belongs to another authority; use a new ledger, or a scenario with "
                "the authority_seed of its genesis"
            )
        if result.reason not in _THERE_ALREADY:
            raise ConfigurationError(f"{what}: {result.reason}: {result.detail}")
        kept.append(Reason(result.reason))
    return kept


def _notes(kept: Iterable[Reason]) -> list[str]:
    found = list(kept)
    notes = []
    if Reason.PARTY_REGISTERED in found:
        notes.append(f"{found.count(Reason.PARTY_REGISTERED)} parties stood on the ledger already")
    if Reason.LICENCE_REGISTERED in found:
        count = found.count(Reason.LICENCE_REGISTERED)
        notes.append(f"{count} licences stood on the ledger already and keep their dates")
    if Reason.POLICY_VERSION in found:
        notes.append("the policy in force stays; the scenario's own was not used")
    return notes
