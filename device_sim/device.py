"""The simulated accelerator: what it is, what it remembers, and the heartbeats it makes."""

from dataclasses import dataclass, replace
from hashlib import sha256
from math import cos, radians

from device_sim.gateway import ResultView
from device_sim.scenario import Site
from device_sim.seeds import Stream, derive
from ledger.protocol import statements as st
from ledger.protocol.heartbeat import Heartbeat, Location, Measurement
from ledger.protocol.keys import Ed25519Signer, PublicKey
from ledger.values import ZERO_DIGEST

DEBUG_ENABLED, DEBUG_DISABLED_PERMANENTLY = 0, 3
"""dbgstat (RFC 9711, 4.2.9)."""
_METRES_PER_DEGREE = 111_195.0
_MIN_COSINE = 0.01


class HeartbeatKey:
    """A chip's Ed25519 key; remembers the digest of what it signed last.

    That digest, SHA-256 of the Sig_structure, is what the next heartbeat names as previous.
    """

    def __init__(self, seed: bytes) -> None:
        self._signer = Ed25519Signer.from_seed(seed)
        self.signed = ZERO_DIGEST

    @property
    def public(self) -> PublicKey:
        """The key in the birth statement."""
        return self._signer.public

    def sign(self, message: bytes) -> bytes:
        """Raw signature, 64 bytes."""
        self.signed = type(ZERO_DIGEST)(sha256(message).digest())
        return self._signer.sign(message)


@dataclass(frozen=True, slots=True)
class Identity:
    """What is fixed at birth. ``label`` is cohort and number, such as ``oslo/3``."""

    label: str
    cohort: str
    ueid: bytes
    oemid: int
    model: str
    seed: bytes


@dataclass(slots=True)
class Memory:
    """What a snapshot of the chip contains: everything that the next heartbeat builds on."""

    counter: int = 0
    previous: bytes = ZERO_DIGEST
    boot_count: int = 0
    boot_seed: bytes = ZERO_DIGEST
    booted_s: int = 0
    directive: tuple[int, bytes] | None = None
    action: str | None = None
    lease: bytes | None = None
    lease_until_ms: int = 0


class SimulatedChip:
    """One chip. It does not know whether it is lawfully where it is; the plan moves it about."""

    def __init__(self, identity: Identity, firmware: Measurement, *, copy: str = "") -> None:
        self.identity = identity
        self.key = HeartbeatKey(derive(identity.seed, "heartbeat-key"))
        self.memory = Memory()
        self.firmware = firmware
        self.debug_status = DEBUG_DISABLED_PERMANENTLY
        self.clock_offset_s = 0
        self.powered = False
        self.site: Site | None = None
        self.claimed: Site | None = None
        """Where it says it is, if that is not where it is."""
        self.beating = False
        self.gps = Stream(derive(identity.seed, f"gps{copy}"))
        self.beat = Stream(derive(identity.seed, f"beat{copy}"))
        self.radio = Stream(derive(identity.seed, f"radio{copy}"))

    @property
    def ueid(self) -> bytes:
        """Its UEID."""
        return self.identity.ueid

    def boot(self, now_s: int) -> None:
        """Start anew: boot count up by one, a boot seed of its own, uptime from 0."""
        memory = self.memory
        memory.boot_count += 1
        memory.boot_seed = derive(self.identity.seed, f"boot/{memory.boot_count}/{now_s}")
        memory.booted_s = now_s

    def snapshot(self) -> Memory:
        """A copy of what it remembers."""
        return replace(self.memory)

    def place(self, site: Site, now_s: int) -> None:
        """Put it into a rack and switch it on."""
        self.site = site
        self.powered = True
        self.boot(now_s)

    def copy_to(self, site: Site) -> "SimulatedChip":
        """A second device with this chip's key and state, in another rack."""
        other = SimulatedChip(self.identity, self.firmware, copy=f"/copy@{site.id}")
        other.memory = self.snapshot()
        other.site = site
        other.powered = True
        return other

    def is_degraded(self, now_ms: int) -> bool:
        """Whether it runs degraded: held or revoked as far as it knows, or its lease is over."""
        if self.memory.action in ("hold", "revoke"):
            return True
        return self.memory.lease is not None and now_ms >= self.memory.lease_until_ms

    def heartbeat(self, now_s: int, epoch: bytes, accuracy_m: float, scatter_m: float) -> bytes:
        """The next heartbeat as a token; the counter moves on whether or not it arrives."""
        memory = self.memory
        iat = max(now_s + self.clock_offset_s, 0)
        body = Heartbeat(
            iat=iat,
            epoch=epoch,
            ueid=self.identity.ueid,
            oemid=self.identity.oemid,
            model=self.identity.model,
            uptime=max(now_s - memory.booted_s, 0),
            debug_status=self.debug_status,
            location=self._fix(iat, accuracy_m, scatter_m),
            boot_count=memory.boot_count,
            boot_seed=memory.boot_seed,
            measurement=self.firmware,
            counter=memory.counter + 1,
            previous=memory.previous,
            directive_seen=memory.directive,
            lease=memory.lease,
        )
        token = st.sign(body, self.key)
        memory.counter, memory.previous = body.counter, self.key.signed
        return token

    def take(self, result: ResultView) -> None:
        """Remember the lease and the directive that came back."""
        lease, directive = result.lease, result.directive
        if lease is not None:
            self.memory.lease, self.memory.lease_until_ms = lease.id, lease.until_ms
        if directive is not None:
            self.memory.directive = (directive.sequence, directive.digest)
            self.memory.action = directive.action

    def _fix(self, iat: int, accuracy_m: float, scatter_m: float) -> Location:
        """What its receiver shows: the claimed or true place, scattered by some metres."""
        site = self.claimed or self.site
        if site is None:
            raise ValueError(f"chip {self.identity.label} is in no rack")
        north = self.gps.uniform(-scatter_m, scatter_m) / _METRES_PER_DEGREE
        east = self.gps.uniform(-scatter_m, scatter_m) / _METRES_PER_DEGREE
        latitude = min(max(site.latitude + north, -90.0), 90.0)
        longitude = site.longitude + east / max(cos(radians(latitude)), _MIN_COSINE)
        longitude = (longitude + 180.0) % 360.0 - 180.0
        return Location(round(latitude, 6), round(longitude, 6), accuracy_m, iat)
