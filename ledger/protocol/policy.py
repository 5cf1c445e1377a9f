"""The policy: the thresholds by which the verifier judges, as a signed statement."""

from typing import Annotated, Literal

from pydantic import Field

from ledger.protocol.fields import Digest32, ModelName, Seconds, ShortText, StatementModel, UInt

RuleId = Literal[
    "identity",
    "continuity",
    "boot",
    "freshness",
    "debug",
    "measurements",
    "licence",
    "location-claim",
    "custody-place",
    "travel",
    "silence",
]
"""Ids of the verifier's rules; the same in code, documents and decisions."""


class ReferenceValue(StatementModel):
    """Firmware that may run on a model: version in words, security version, SHA-256."""

    version: ShortText
    svn: UInt
    digest: Digest32


class Policy(StatementModel):
    """``policy``: signed by the authority; versions count up by one from 1.

    Units are in the names: ``_s`` seconds, ``_h`` hours, ``_d`` days, ``_m`` metres. A limit of 0
    turns its rule off where the field says so.
    """

    iat: Seconds
    version: Annotated[int, Field(ge=1, le=2**31)]
    title: ShortText
    max_clock_skew_s: Annotated[int, Field(ge=1, le=86_400 * 7)] = 900
    allowed_debug: Annotated[
        list[Annotated[int, Field(ge=0, le=4)]],
        Field(max_length=5, default_factory=lambda: [2, 3, 4]),
    ]
    reference_values: Annotated[
        dict[ModelName, Annotated[list[ReferenceValue], Field(min_length=1, max_length=64)]],
        Field(max_length=256, default_factory=dict),
    ]
    minimum_svn: Annotated[dict[ModelName, UInt], Field(max_length=256, default_factory=dict)]
    hold_after: Annotated[
        dict[RuleId, Annotated[int, Field(ge=1, le=1_000)]],
        Field(max_length=16, default_factory=dict),
    ]
    """Contraindicated appraisals of one rule before a hold; a rule that is not named never holds
    by itself (it sets the suspect flag)."""
    clear_after: Annotated[int, Field(ge=1, le=1_000)] = 3
    """Clean heartbeats in a row after which earlier failures no longer count."""
    max_accuracy_m: Annotated[int, Field(ge=1, le=10_000_000)] = 50_000
    """A claim less exact than this shows no place."""
    max_fix_age_s: Annotated[int, Field(ge=1, le=86_400 * 365)] = 86_400
    """A position taken longer than this before its heartbeat shows no present place."""
    unclear_after: Annotated[int, Field(ge=0, le=10_000)] = 24
    """Claims in a row that show no place inside which are tolerated; each further one counts as
    contraindicated; 0: all are tolerated."""
    travel_speed_kmh: Annotated[int, Field(ge=0, le=100_000)] = 900
    """0: off."""
    silence_after_h: Annotated[int, Field(ge=0, le=8_760)] = 24
    """Hours without a heartbeat after which a chip is flagged silent; 0: never."""
    silence_hold_after_h: Annotated[int, Field(ge=0, le=8_760)] = 0
    """Hours without a heartbeat after which a chip is held; 0: never."""
    transit_limit_h: Annotated[int, Field(ge=0, le=8_760)] = 168
    """Hours after a shipment in which a chip may report on its way; 0: no limit."""
    revoke_after_forks: Annotated[int, Field(ge=0, le=1_000)] = 0
    """Proofs that a key lives twice, since the last release, before revocation; 0: never."""
    revoke_after_held_d: Annotated[int, Field(ge=0, le=3_650)] = 0
    """Days that a held chip keeps reporting from outside before revocation; 0: never."""
    conflicts_per_epoch: Annotated[int, Field(ge=1, le=64)] = 8
    """Conflicting messages of one chip or party that are recorded per epoch."""
    lease_s: Annotated[int, Field(ge=60, le=86_400 * 90)] = 86_400
