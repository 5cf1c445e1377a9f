"""Keys of authority, officers, manufacturers and custodians, and the birth of chips.

All of them derive from the scenario's ``authority_seed`` and the party's id: a second run with
another seed meets the same parties. They are for simulation only: whoever reads the scenario has
them.
"""

from functools import lru_cache

from device_sim.device import SimulatedChip
from device_sim.scenario import Scenario
from device_sim.seeds import derive, root_seed
from ledger.protocol import statements as st
from ledger.protocol import x509
from ledger.protocol.keys import Ed25519Signer, P384Signer
from ledger.protocol.statements import Birth

VALID_FROM_MS = 1_577_836_800_000
"""2020-01-01T00:00:00Z."""
VALID_UNTIL_MS = 3_471_292_800_000
"""2080-01-01T00:00:00Z. Fixed, so that a manufacturer's certificates do not depend on the run."""
_MAX_SERIAL_BYTES = 16


class Parties:
    """Signers by party id."""

    def __init__(self, scenario: Scenario) -> None:
        self._seed = root_seed(scenario.authority_seed)
        self._signers: dict[str, Ed25519Signer] = {}

    def signer(self, ident: str) -> Ed25519Signer:
        """The signing key of a party, whichever it is."""
        signer = self._signers.get(ident)
        if signer is None:
            signer = Ed25519Signer.from_seed(derive(self._seed, f"party/{ident}"))
            self._signers[ident] = signer
        return signer

    def certificate_seed(self, manufacturer: str) -> bytes:
        """Seed of a manufacturer's certificate authority."""
        return derive(self._seed, f"manufacturer/{manufacturer}")


class Maker:
    """A manufacturer's certificate authority: root → model CA → device."""

    def __init__(self, seed: bytes, name: str) -> None:
        self._seed = seed
        self._name = name
        self._root_key = P384Signer.from_seed(derive(seed, "root"))
        self.root = x509.build_root(
            self._root_key, f"{name} root", VALID_FROM_MS, VALID_UNTIL_MS, serial=1
        )
        self._model_ca = lru_cache(maxsize=None)(self._make_model_ca)

    def birth(self, chip: SimulatedChip, iat: int, processing_performance: int) -> Birth:
        """The birth statement of a chip: certificate, heartbeat key, and the bond of the two."""
        identity = chip.identity
        device_key = P384Signer.from_seed(derive(identity.seed, "device-key"))
        ca_key, ca_certificate = self._model_ca(identity.model)
        certificate = x509.issue_device(
            ca_key,
            ca_certificate,
            device_key.public,
            identity.ueid,
            VALID_FROM_MS,
            VALID_UNTIL_MS,
            serial=_serial(derive(identity.seed, "serial")),
        )
        key = chip.key.public.to_cose_key()
        return Birth(
            iat=iat,
            ueid=identity.ueid,
            oemid=identity.oemid,
            model=identity.model,
            key=key,
            certificates=[certificate, ca_certificate],
            binding=device_key.sign(st.binding_message(identity.ueid, key)),
            processing_performance=processing_performance,
        )

    def _make_model_ca(self, model: str) -> tuple[P384Signer, bytes]:
        seed = derive(self._seed, f"model/{model}")
        key = P384Signer.from_seed(seed)
        certificate = x509.issue_model_ca(
            self._root_key,
            self.root,
            key.public,
            f"{self._name} {model} CA",
            VALID_FROM_MS,
            VALID_UNTIL_MS,
            serial=_serial(derive(seed, "serial")),
        )
        return key, certificate


def _serial(seed: bytes) -> int:
    """A positive certificate serial number (RFC 5280, 4.1.2.2)."""
    return int.from_bytes(seed[:_MAX_SERIAL_BYTES]) | 1
