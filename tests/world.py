"""A small world on the real interfaces: an authority, a maker, two custodians, chips.

``World`` makes signed statements; it does not care who takes them. Everything derives from fixed
seeds and a time that the test moves.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

from ledger.protocol import statements as st
from ledger.protocol import x509
from ledger.protocol.heartbeat import Heartbeat, Location, Measurement
from ledger.protocol.keys import Ed25519Signer, P384Signer
from ledger.protocol.landmarks import RangingRow
from ledger.protocol.ranging_rows import make_report
from ledger.values import ZERO_DIGEST

START_MS = 1_767_225_600_000  # 2026-01-01T00:00:00Z
MODEL = "XA-100"
FRANKFURT = (50.1109, 8.6821)
SINGAPORE = (1.3521, 103.8198)
KUALA_LUMPUR = (3.1390, 101.6869)
FIRMWARE = Measurement("1.0", 3, sha256(b"firmware 1.0").digest())
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
LONG_AHEAD = datetime(2040, 1, 1, tzinfo=UTC)


def seed(label: str) -> bytes:
    """32 bytes from a label."""
    return sha256(label.encode()).digest()


def signer(label: str) -> Ed25519Signer:
    """An Ed25519 key from a label."""
    return Ed25519Signer.from_seed(seed(label))


@dataclass
class Chip:
    """A chip's own state."""

    number: int
    ueid: bytes
    signer: Ed25519Signer
    counter: int = 0
    previous: bytes = ZERO_DIGEST
    uptime: int = 0

    def heartbeat(self, epoch: bytes, now_ms: int, **changes: Any) -> bytes:
        """The next heartbeat; ``changes`` replace claims. Keeps the chip's own chain."""
        self.counter += 1
        self.uptime += 3_600
        latitude, longitude = changes.pop("place", FRANKFURT)
        claim = Location(latitude, longitude, changes.pop("accuracy_m", 12.3), now_ms // 1000)
        body = Heartbeat(
            iat=now_ms // 1000,
            epoch=epoch,
            ueid=self.ueid,
            oemid=99_999,
            model=MODEL,
            uptime=self.uptime,
            debug_status=3,
            location=claim,
            boot_count=1,
            boot_seed=seed(f"boot {self.number}")[:32],
            measurement=FIRMWARE,
            counter=self.counter,
            previous=self.previous,
        )
        token = st.sign(body._replace(**changes), self.signer)
        self.previous = st.decode(token).content_digest
        return token


@dataclass
class World:
    """Keys and statements of all parties."""

    now_ms: int = START_MS
    authority: Ed25519Signer = field(default_factory=lambda: signer("authority"))
    officer: Ed25519Signer = field(default_factory=lambda: signer("officer"))
    maker: Ed25519Signer = field(default_factory=lambda: signer("maker"))
    holder: Ed25519Signer = field(default_factory=lambda: signer("holder"))
    reseller: Ed25519Signer = field(default_factory=lambda: signer("reseller"))
    root: P384Signer = field(default_factory=lambda: P384Signer.from_seed(seed("root")))
    ca: P384Signer = field(default_factory=lambda: P384Signer.from_seed(seed("ca")))

    def __post_init__(self) -> None:
        self.root_certificate = x509.build_root(self.root, "Maker root", LONG_AGO, LONG_AHEAD)
        self.ca_certificate = x509.issue_model_ca(
            self.root,
            self.root_certificate,
            self.ca.public,
            f"Maker {MODEL}",
            LONG_AGO,
            LONG_AHEAD,
            serial=2,
        )

    @property
    def iat(self) -> int:
        """The present in seconds."""
        return self.now_ms // 1000

    def genesis(self, ledger: bytes, verifier: bytes, **changes: Any) -> bytes:
        """Genesis for the given COSE keys."""
        fields: dict[str, Any] = {
            "iat": self.iat,
            "origin": "test.example/ledger",
            "clock": "simulated",
            "epoch_s": 3_600,
            "bucket_bits": 8,
            "authority": self._founder("authority", self.authority),
            "ledger": ledger,
            "verifier": st.Founder(id="verifier", name="Verifier", key=verifier),
            "officers": [self._founder("officer", self.officer)],
        }
        return st.sign(st.Genesis(**fields | changes), self.authority)

    def parties(self) -> list[bytes]:
        """Maker, holder (SG) and reseller (MY)."""
        rows = (
            ("maker", self.maker, ["manufacturer"], "US", self.root_certificate),
            ("holder", self.holder, ["custodian"], "DE", None),
            ("reseller", self.reseller, ["custodian"], "MY", None),
        )
        return [
            st.sign(
                st.PartyStatement(
                    iat=self.iat,
                    id=name,
                    name=name.title(),
                    roles=roles,
                    country=country,
                    key=key.public.to_cose_key(),
                    root_certificate=root,
                ),
                self.authority,
            )
            for name, key, roles, country, root in rows
        ]

    def policy(self, **changes: Any) -> bytes:
        """Policy version 1 unless told otherwise."""
        fields: dict[str, Any] = {
            "iat": self.iat,
            "version": 1,
            "title": "test policy",
            "allowed_debug": [2, 3, 4],
            "reference_values": {
                MODEL: [
                    {"version": FIRMWARE.version, "svn": FIRMWARE.svn, "digest": FIRMWARE.digest}
                ]
            },
            "minimum_svn": {MODEL: 3},
            "hold_after": {
                "location-claim": 2,
                "licence": 1,
                "measurements": 2,
                "debug": 1,
                "continuity": 1,
                "travel": 1,
                "boot": 1,
                "freshness": 2,
                "custody-place": 3,
                "identity": 1,
            },
        }
        return st.sign(st.Policy.model_validate(fields | changes), self.authority)

    def licence(self, **changes: Any) -> bytes:
        """Licence L-1: the holder may have the model in DE and FR."""
        fields: dict[str, Any] = {
            "iat": self.iat,
            "id": "L-1",
            "holder": "holder",
            "countries": ["DE", "FR"],
            "models": [MODEL],
            "not_before": self.iat - 86_400,
            "not_after": self.iat + 86_400 * 365,
        }
        return st.sign(st.Licence(**fields | changes), self.authority)

    def chip(self, number: int) -> Chip:
        """A chip that is not born yet."""
        ueid = b"\x01" + seed(f"chip {number}")[:16]
        return Chip(number, ueid, signer(f"chip key {number}"))

    def birth(self, chip: Chip, **changes: Any) -> bytes:
        """The maker's birth statement for a chip."""
        device = P384Signer.from_seed(seed(f"device {chip.number}"))
        certificate = x509.issue_device(
            self.ca,
            self.ca_certificate,
            device.public,
            chip.ueid,
            LONG_AGO,
            LONG_AHEAD,
            serial=1_000 + chip.number,
        )
        key = changes.get("key", chip.signer.public.to_cose_key())
        fields: dict[str, Any] = {
            "iat": self.iat,
            "ueid": chip.ueid,
            "oemid": 99_999,
            "model": MODEL,
            "key": key,
            "certificates": [certificate, self.ca_certificate],
            "binding": device.sign(st.binding_message(chip.ueid, key)),
        }
        return st.sign(st.Birth(**fields | changes), self.maker)

    def ship(self, *chips: Chip, by: Ed25519Signer | None = None, **changes: Any) -> bytes:
        """From the maker to the holder under L-1."""
        fields: dict[str, Any] = {
            "iat": self.iat,
            "chips": [chip.ueid for chip in chips],
            "to": "holder",
            "destination": "DE",
            "licence": "L-1",
        }
        return st.sign(st.Ship(**fields | changes), by or self.maker)

    def receive(self, *chips: Chip, by: Ed25519Signer | None = None, **changes: Any) -> bytes:
        """By the holder from the maker, in DE."""
        fields: dict[str, Any] = {
            "iat": self.iat,
            "chips": [chip.ueid for chip in chips],
            "sender": "maker",
            "country": "DE",
        }
        return st.sign(st.Receive(**fields | changes), by or self.holder)

    def install(self, *chips: Chip, by: Ed25519Signer | None = None, **changes: Any) -> bytes:
        """At Frankfurt under L-1."""
        fields: dict[str, Any] = {
            "iat": self.iat,
            "chips": [chip.ueid for chip in chips],
            "site": "Frankfurt 1",
            "country": "DE",
            "latitude": FRANKFURT[0],
            "longitude": FRANKFURT[1],
            "licence": "L-1",
        }
        return st.sign(st.Install(**fields | changes), by or self.holder)

    def landmark(self, name: str = "beacon") -> bytes:
        """Registers a landmark."""
        body = st.PartyStatement(
            iat=self.iat,
            id=name,
            name=name.title(),
            roles=["landmark"],
            country="DE",
            key=signer(name).public.to_cose_key(),
        )
        return st.sign(body, self.authority)

    def directory(self, **changes: Any) -> bytes:
        """Version 1 of the landmark directory: beacon, in Frankfurt; ``of`` changes its entry."""
        entry = {
            "id": "beacon",
            "operator": "beacon",
            "latitude": FRANKFURT[0],
            "longitude": FRANKFURT[1],
            "addresses": ["beacon.example:8490"],
        }
        fields = {"iat": self.iat, "version": 1, "landmarks": [entry | changes.pop("of", {})]}
        return st.sign(st.LandmarkDirectory.model_validate(fields | changes), self.authority)

    def report(
        self, epoch: bytes, *chips: Chip, by: Ed25519Signer | None = None, **changes: Any
    ) -> bytes:
        """What beacon measured of chips in an epoch; ``changes`` come after its rows' signature."""
        key = by or signer("beacon")
        rows = [
            RangingRow(
                ueid=chip.ueid,
                round_trip_us=8_125,
                probes=4,
                transcript=seed(f"transcript {chip.number}"),
            )
            for chip in chips
        ]
        made = make_report(
            changes.pop("iat", self.iat),
            changes.pop("landmark", "beacon"),
            epoch,
            changes.pop("directory", 1),
            rows,
            key,
        )
        return st.sign(made.model_copy(update=changes), key)

    def release(self, chip: Chip, sequence: int, previous: bytes, **changes: Any) -> bytes:
        """An officer's release."""
        fields: dict[str, Any] = {
            "iat": self.iat,
            "action": "release",
            "ueid": chip.ueid,
            "key": chip.signer.public.thumbprint,
            "sequence": sequence,
            "previous": previous,
            "rules": [],
            "reasons": ["the licence office has seen the chip"],
            "evidence": [],
            "policy": ZERO_DIGEST,
            "issued_ms": self.now_ms,
            "effective_ms": self.now_ms,
            "appeal": "to authority",
        }
        return st.sign(st.Decision(**fields | changes), self.officer)

    @staticmethod
    def _founder(ident: str, key: Ed25519Signer) -> st.Founder:
        return st.Founder(id=ident, name=ident.title(), key=key.public.to_cose_key())
