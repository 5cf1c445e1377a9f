"""Parties and chips that a test plays: everything signed, nothing faked."""

from dataclasses import dataclass, field
from hashlib import sha256

from ledger.protocol import statements as st
from ledger.protocol import x509
from ledger.protocol.heartbeat import Heartbeat, Location, Measurement
from ledger.protocol.keys import Ed25519Signer, P384Signer
from ledger.values import MILLIS_PER_DAY

T0_MS = 1_790_000_000_000
ORIGIN = "ledger.example/test"
PEN = 32_473


def seed(label: str) -> bytes:
    """32 bytes that a label names."""
    return sha256(label.encode()).digest()


@dataclass
class Chip:
    """A simulated chip: its keys, its counter, its last heartbeat."""

    number: int
    ueid: bytes = field(init=False)
    device: P384Signer = field(init=False)
    signer: Ed25519Signer = field(init=False)
    counter: int = 0
    previous: bytes = bytes(32)

    def __post_init__(self) -> None:
        self.ueid = b"\x01" + seed(f"ueid {self.number}")[:16]
        self.device = P384Signer.from_seed(seed(f"device {self.number}"))
        self.signer = Ed25519Signer.from_seed(seed(f"chip {self.number}"))

    def heartbeat(self, epoch: bytes, now_ms: int = T0_MS) -> bytes:
        """The next heartbeat, signed."""
        self.counter += 1
        token = st.sign(self.body(epoch, now_ms), self.signer)
        self.previous = st.decode(token).content_digest
        return token

    def body(self, epoch: bytes, now_ms: int) -> Heartbeat:
        """The claims of a heartbeat with the present counter."""
        return Heartbeat(
            iat=now_ms // 1000,
            epoch=epoch,
            ueid=self.ueid,
            oemid=PEN,
            model="TEST-1",
            uptime=60 * self.counter,
            debug_status=2,
            location=Location(50.11, 8.68, 100.0, now_ms // 1000),
            boot_count=1,
            boot_seed=seed("boot"),
            measurement=Measurement("1.0", 1, seed("firmware")),
            counter=self.counter,
            previous=self.previous,
        )


class World:
    """An authority, an officer, a manufacturer, a custodian."""

    def __init__(self, now_ms: int = T0_MS) -> None:
        self.now_ms = now_ms
        self.authority = Ed25519Signer.from_seed(seed("authority"))
        self.officer = Ed25519Signer.from_seed(seed("officer"))
        self.maker = Ed25519Signer.from_seed(seed("maker"))
        self.cloud = Ed25519Signer.from_seed(seed("cloud"))
        root, model = P384Signer.from_seed(seed("root")), P384Signer.from_seed(seed("model"))
        span = (now_ms - MILLIS_PER_DAY, now_ms + 3_650 * MILLIS_PER_DAY)
        self.root = x509.build_root(root, "Maker Root", *span)
        self.model_ca = x509.issue_model_ca(
            root, self.root, model.public, "TEST-1 CA", *span, serial=2
        )
        self._model, self._span = model, span

    @property
    def iat(self) -> int:
        """The time of statements, in seconds."""
        return self.now_ms // 1000

    def genesis(
        self, ledger_key: bytes, verifier_key: bytes, clock: str = "simulated", epoch_s: int = 3_600
    ) -> bytes:
        """The first statement of a ledger with these keys."""
        body = st.Genesis(
            iat=self.iat,
            origin=ORIGIN,
            clock=clock,
            epoch_s=epoch_s,
            bucket_bits=4,
            authority=self._founder("authority", self.authority),
            ledger=ledger_key,
            verifier=st.Founder(id="verifier", name="Verifier", key=verifier_key),
            officers=[self._founder("officer", self.officer)],
        )
        return st.sign(body, self.authority)

    def parties(self) -> list[bytes]:
        """Registrations of the manufacturer, the custodian and its licence."""
        maker = self._party("maker", self.maker, "manufacturer", "US", self.root)
        cloud = self._party("cloud", self.cloud, "custodian", "DE")
        licence = st.Licence(
            iat=self.iat,
            id="LIC-1",
            holder="cloud",
            countries=["DE"],
            models=["TEST-1"],
            not_before=self.iat - 1,
            not_after=self.iat + 86_400 * 365,
        )
        return [maker, cloud, st.sign(licence, self.authority)]

    def birth(self, chip: Chip) -> bytes:
        """The manufacturer's endorsement of a chip."""
        certificate = x509.issue_device(
            self._model,
            self.model_ca,
            chip.device.public,
            chip.ueid,
            *self._span,
            serial=chip.number + 100,
        )
        key = chip.signer.public.to_cose_key()
        body = st.Birth(
            iat=self.iat,
            ueid=chip.ueid,
            oemid=PEN,
            model="TEST-1",
            key=key,
            certificates=[certificate, self.model_ca],
            binding=chip.device.sign(st.binding_message(chip.ueid, key)),
        )
        return st.sign(body, self.maker)

    def _party(
        self, ident: str, signer: Ed25519Signer, role: str, country: str, root: bytes | None = None
    ) -> bytes:
        body = st.PartyStatement(
            iat=self.iat,
            id=ident,
            name=ident.title(),
            roles=[role],
            country=country,
            key=signer.public.to_cose_key(),
            root_certificate=root,
        )
        return st.sign(body, self.authority)

    @staticmethod
    def _founder(ident: str, signer: Ed25519Signer) -> st.Founder:
        return st.Founder(id=ident, name=ident.title(), key=signer.public.to_cose_key())
