"""The manufacturer's certificates: a good chain gives the device key, each fault its field."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from hypothesis import given
from hypothesis import strategies as st

from ledger.errors import Reason
from ledger.protocol.keys import Algorithm, Ed25519Signer, P384Signer, PublicKey
from ledger.protocol.x509 import build_root, issue_device, issue_model_ca, verify_chain
from tests.protocol.refusals import mutations, only_refusals, refused

ROOT_KEY, MODEL_KEY, DEVICE_KEY, STRANGER = (
    P384Signer.from_seed(bytes([number]) * 32) for number in range(1, 5)
)
UEID = b"\x01" + bytes(range(16))
START = datetime(2026, 1, 1, tzinfo=UTC)
END = datetime(2036, 1, 1, tzinfo=UTC)
NOW = datetime(2026, 11, 25, tzinfo=UTC)
ROOT = build_root(ROOT_KEY, "Acme root", START, END)
MODEL = issue_model_ca(ROOT_KEY, ROOT, MODEL_KEY.public, "Acme A1", START, END, serial=7)
DEVICE = issue_device(MODEL_KEY, MODEL, DEVICE_KEY.public, UEID, START, END, serial=99)


def chain_key(
    device: bytes = DEVICE,
    model: bytes = MODEL,
    root: bytes = ROOT,
    at: datetime | int = NOW,
    ueid: bytes = UEID,
) -> PublicKey:
    return verify_chain([device, model], root, at, ueid)


def test_a_good_chain_gives_the_device_key() -> None:
    assert chain_key() == DEVICE_KEY.public


@pytest.mark.parametrize(
    "ueid", [b"\x01" + bytes(32), b"\x02" + bytes(6), b"\x03" + bytes(14)], ids=len
)
def test_every_length_of_ueid_fits_a_certificate(ueid: bytes) -> None:
    device = issue_device(MODEL_KEY, MODEL, DEVICE_KEY.public, ueid, START, END, serial=1)
    assert chain_key(device=device, ueid=ueid) == DEVICE_KEY.public


def test_certificates_repeat_to_the_byte_and_differ_by_serial() -> None:
    def make(serial: int) -> bytes:
        return issue_device(MODEL_KEY, MODEL, DEVICE_KEY.public, UEID, START, END, serial=serial)

    assert make(99) == DEVICE
    assert make(100) != DEVICE
    assert build_root(ROOT_KEY, "Acme root", START, END) == ROOT


def test_milliseconds_and_zoned_times_mean_the_same() -> None:
    milliseconds = int(START.timestamp() * 1000)
    assert build_root(ROOT_KEY, "Acme root", milliseconds, END) == ROOT
    assert chain_key(at=int(NOW.timestamp() * 1000)) == chain_key()
    with pytest.raises(ValueError, match="zone"):
        chain_key(at=NOW.replace(tzinfo=None))


def test_an_ed25519_key_gets_no_certificate() -> None:
    key = Ed25519Signer.from_seed(bytes(32)).public
    with pytest.raises(ValueError, match="P-384"):
        issue_device(MODEL_KEY, MODEL, key, UEID, START, END, serial=1)


# --- faults of the chain --------------------------------------------------------------------


@pytest.mark.parametrize("chain", [[], [DEVICE], [DEVICE, MODEL, ROOT]], ids=len)
def test_a_chain_of_another_length_is_refused(chain: list[bytes]) -> None:
    with refused(Reason.CERTIFICATE_INVALID, "chain"):
        verify_chain(chain, ROOT, NOW, UEID)


def test_a_certificate_over_the_limit_is_refused_before_parsing() -> None:
    for faulty in ({"device": bytes(4_097)}, {"model": bytes(4_097)}, {"root": bytes(4_097)}):
        with refused(Reason.CERTIFICATE_INVALID, "chain"):
            chain_key(**faulty)


@pytest.mark.parametrize(
    "faulty", [b"", b"\x30\x00", DEVICE[:-1], DEVICE + b"\x00", b"-----BEGIN CERTIFICATE-----"]
)
def test_what_is_no_certificate_is_refused(faulty: bytes) -> None:
    with refused(Reason.CERTIFICATE_INVALID, "device.form"):
        chain_key(device=faulty)
    with refused(Reason.CERTIFICATE_INVALID, "model.form"):
        chain_key(model=faulty)
    with refused(Reason.CERTIFICATE_INVALID, "root.form"):
        chain_key(root=faulty)


def test_a_certificate_of_another_version_is_refused() -> None:
    version_3 = bytes.fromhex("a003020102")
    for number in (0, 1, 3, 255):
        other = DEVICE.replace(version_3, version_3[:-1] + bytes([number]), 1)
        with refused(Reason.CERTIFICATE_INVALID, "device.form"):
            chain_key(device=other)


def test_another_device_is_refused_by_its_subject() -> None:
    with refused(Reason.CERTIFICATE_INVALID, "device.subject"):
        chain_key(ueid=b"\x01" + bytes(16))


def test_swapped_certificates_are_refused() -> None:
    with refused(Reason.CERTIFICATE_INVALID, "device.issuer"):
        verify_chain([MODEL, DEVICE], ROOT, NOW, UEID)


def test_another_manufacturer_with_another_name_is_refused_by_the_issuer() -> None:
    with refused(Reason.CERTIFICATE_INVALID, "model.issuer"):
        chain_key(root=build_root(STRANGER, "Other root", START, END))


def test_another_manufacturer_with_the_same_name_is_refused_by_the_signature() -> None:
    with refused(Reason.CERTIFICATE_INVALID, "model.signature"):
        chain_key(root=build_root(STRANGER, "Acme root", START, END))


def test_a_device_signed_by_a_stranger_is_refused() -> None:
    device = issue_device(STRANGER, MODEL, DEVICE_KEY.public, UEID, START, END, serial=99)
    with refused(Reason.CERTIFICATE_INVALID, "device.signature"):
        chain_key(device=device)


def test_a_device_certificate_cannot_issue_another() -> None:
    child = issue_device(DEVICE_KEY, DEVICE, STRANGER.public, UEID, START, END, serial=1)
    with refused(Reason.CERTIFICATE_INVALID):
        verify_chain([child, DEVICE], MODEL, NOW, UEID)


def test_the_ends_of_the_validity_are_included_and_what_lies_beyond_is_refused() -> None:
    second = timedelta(seconds=1)
    chain_key(at=START)
    chain_key(at=END)
    for at in (START - second, END + second):
        with refused(Reason.CERTIFICATE_INVALID, "device.validity"):
            chain_key(at=at)


@pytest.mark.parametrize("name", ["root", "model", "device"])
def test_each_certificate_has_to_be_valid(name: str) -> None:
    short = NOW - timedelta(days=1)
    ends = {"root": END, "model": END, "device": END} | {name: short}
    root = build_root(ROOT_KEY, "Acme root", START, ends["root"])
    model = issue_model_ca(
        ROOT_KEY, root, MODEL_KEY.public, "Acme A1", START, ends["model"], serial=7
    )
    device = issue_device(
        MODEL_KEY, model, DEVICE_KEY.public, UEID, START, ends["device"], serial=99
    )
    with refused(Reason.CERTIFICATE_INVALID, f"{name}.validity"):
        chain_key(device, model, root)
    assert chain_key(device, model, root, at=short) == DEVICE_KEY.public


# --- faults of one certificate --------------------------------------------------------------

CA = x509.BasicConstraints(ca=True, path_length=None)
NO_CA = x509.BasicConstraints(ca=False, path_length=None)


def usage(*names: str) -> x509.KeyUsage:
    known = (
        "digital_signature content_commitment key_encipherment data_encipherment key_agreement "
        "key_cert_sign crl_sign encipher_only decipher_only"
    ).split()
    return x509.KeyUsage(**{name: name in names for name in known})


def common_name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def serial_numbers(*texts: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.SERIAL_NUMBER, text) for text in texts])


SUBJECT = serial_numbers(UEID.hex())
ISSUER = common_name("Acme A1")
SIGNS = usage("digital_signature")


@dataclass(frozen=True)
class Recipe:
    """A certificate of any shape; the defaults are those of a good device certificate."""

    subject: x509.Name = SUBJECT
    issuer: x509.Name = ISSUER
    key: Any = DEVICE_KEY.private
    signer: Any = MODEL_KEY.private
    digest: Any = field(default_factory=hashes.SHA384)
    constraints: x509.BasicConstraints | None = NO_CA
    usage: x509.KeyUsage | None = SIGNS
    more: tuple[tuple[x509.ExtensionType, bool], ...] = ()

    def make(self) -> bytes:
        builder = (
            x509.CertificateBuilder()
            .subject_name(self.subject)
            .issuer_name(self.issuer)
            .public_key(self.key.public_key())
            .serial_number(5)
            .not_valid_before(START)
            .not_valid_after(END)
        )
        for extension in (self.constraints, self.usage):
            if extension is not None:
                builder = builder.add_extension(extension, critical=True)
        for extension, critical in self.more:
            builder = builder.add_extension(extension, critical=critical)
        return builder.sign(self.signer, self.digest).public_bytes(serialization.Encoding.DER)


def device(**changes: Any) -> bytes:
    return Recipe(**changes).make()


def model(**changes: Any) -> bytes:
    good: dict[str, Any] = {
        "subject": common_name("Acme A1"),
        "issuer": common_name("Acme root"),
        "key": MODEL_KEY.private,
        "signer": ROOT_KEY.private,
        "constraints": x509.BasicConstraints(ca=True, path_length=0),
        "usage": usage("key_cert_sign"),
    }
    return Recipe(**(good | changes)).make()


def root(**changes: Any) -> bytes:
    good: dict[str, Any] = {
        "subject": common_name("Acme root"),
        "key": ROOT_KEY.private,
        "constraints": CA,
    }
    return model(**(good | changes))


P256 = ec.derive_private_key(7, ec.SECP256R1())
CLIENT_AUTH = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
UNKNOWN = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.32473.1"), b"\x05\x00")
NAMES = x509.NameConstraints([x509.DNSName("example.org")], None)


@pytest.mark.parametrize("make", [device, model, root])
def test_the_recipes_make_good_certificates(make: Callable[..., bytes]) -> None:
    assert chain_key(**{make.__name__: make()}) == DEVICE_KEY.public
    # Extensions that are not critical change nothing.
    more = ((CLIENT_AUTH, False), (UNKNOWN, False))
    assert chain_key(**{make.__name__: make(more=more)}) == DEVICE_KEY.public


@pytest.mark.parametrize(
    ("make", "changes", "fault"),
    [
        (device, {"more": ((UNKNOWN, True),)}, "device.extensions"),
        (device, {"more": ((CLIENT_AUTH, True),)}, "device.extensions"),
        (model, {"more": ((NAMES, True),)}, "model.extensions"),
        (root, {"more": ((UNKNOWN, True),)}, "root.extensions"),
        (device, {"constraints": CA}, "device.ca"),
        (device, {"constraints": None}, "device.ca"),
        (model, {"constraints": NO_CA}, "model.ca"),
        (model, {"constraints": None}, "model.ca"),
        (root, {"constraints": NO_CA}, "root.ca"),
        (root, {"constraints": None}, "root.ca"),
        (root, {"constraints": x509.BasicConstraints(ca=True, path_length=0)}, "root.ca"),
        (device, {"usage": None}, "device.key-usage"),
        (device, {"usage": usage("key_agreement")}, "device.key-usage"),
        (device, {"usage": usage("digital_signature", "key_cert_sign")}, "device.key-usage"),
        (model, {"usage": None}, "model.key-usage"),
        (model, {"usage": usage("digital_signature", "crl_sign")}, "model.key-usage"),
        (root, {"usage": usage("digital_signature")}, "root.key-usage"),
        (device, {"key": P256}, "device.algorithm"),
        (device, {"digest": hashes.SHA256()}, "device.algorithm"),
        (device, {"signer": P256}, "device.signature"),
        (model, {"key": P256}, "model.algorithm"),
        (model, {"digest": hashes.SHA512()}, "model.algorithm"),
        (root, {"key": P256, "signer": P256}, "root.algorithm"),
        (root, {"signer": STRANGER.private}, "root.signature"),
        (model, {"signer": STRANGER.private}, "model.signature"),
        (device, {"issuer": common_name("Acme A2")}, "device.issuer"),
        (device, {"issuer": x509.Name([])}, "device.issuer"),
        (model, {"subject": common_name("Acme A2")}, "device.issuer"),
        (root, {"issuer": common_name("Other root")}, "root.issuer"),
        (device, {"subject": common_name(UEID.hex())}, "device.subject"),
        (device, {"subject": serial_numbers(UEID.hex().upper() + "A")}, "device.subject"),
        (device, {"subject": serial_numbers(UEID.hex(), UEID.hex())}, "device.subject"),
        (device, {"subject": serial_numbers("00", UEID.hex())}, "device.subject"),
        (device, {"subject": x509.Name([])}, "device.subject"),
    ],
)
def test_a_fault_of_one_certificate_is_refused_by_name(
    make: Callable[..., bytes], changes: dict[str, Any], fault: str
) -> None:
    with refused(Reason.CERTIFICATE_INVALID, fault):
        chain_key(**{make.__name__: make(**changes)})


def test_a_chain_with_nameless_certificates_is_refused() -> None:
    nobody = x509.Name([])
    with refused(Reason.CERTIFICATE_INVALID, "model.issuer"):
        chain_key(root=root(subject=nobody, issuer=nobody), model=model(issuer=nobody))


def test_the_device_key_is_a_checked_p384_key() -> None:
    assert chain_key().alg is Algorithm.ES384


# --- fuzzing --------------------------------------------------------------------------------


def quietly(device: bytes = DEVICE, model: bytes = MODEL, root: bytes = ROOT) -> PublicKey | None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the parser warns of serial numbers below 1, say
        key: PublicKey | None = only_refusals(lambda data: chain_key(data, model, root), device)
        return key


@given(st.binary(max_size=300))
def test_random_bytes_as_certificates_are_only_refused(data: bytes) -> None:
    assert quietly(device=data) is None
    assert quietly(model=data) is None
    assert quietly(root=data) is None


@given(mutations(DEVICE))
def test_a_mutated_device_certificate_is_only_refused(data: bytes) -> None:
    if data != DEVICE:
        assert quietly(device=data) is None


@given(mutations(MODEL))
def test_a_mutated_model_certificate_is_only_refused(data: bytes) -> None:
    if data != MODEL:
        assert quietly(model=data) is None


@given(mutations(ROOT))
def test_a_mutated_root_certificate_is_only_refused(data: bytes) -> None:
    if data != ROOT:
        assert quietly(root=data) is None
