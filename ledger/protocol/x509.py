"""The manufacturer's certificates: root, model CA, device (RFC 5280), all on P-384.

A birth statement shows that a device key is the manufacturer's by two certificates, device and
model CA, that chain to the registered root. The device certificate names its chip: the subject's
serialNumber attribute is the UEID in lower-case hexadecimal. (X.520 bounds that attribute to 64
characters; a UEID of 33 bytes has 66, which all parsers in use take.)

Certificates made here repeat to the byte: serial numbers and times are given and ECDSA nonces
are those of RFC 6979.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtensionOID, NameOID, SignatureAlgorithmOID

from ledger.errors import Reason, Refused
from ledger.protocol.keys import Algorithm, P384Signer, PublicKey

MAX_CERTIFICATE_SIZE = 4_096
CHAIN_LENGTH = 2
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_UNDERSTOOD = frozenset((ExtensionOID.BASIC_CONSTRAINTS, ExtensionOID.KEY_USAGE))
_Extension = TypeVar("_Extension", bound=x509.ExtensionType)

Moment = datetime | int
"""A time with its zone, or milliseconds since 1970."""


# --- Issuing --------------------------------------------------------------------------------


def build_root(
    signer: P384Signer, name: str, not_before: Moment, not_after: Moment, *, serial: int = 1
) -> bytes:
    """Self-signed root in DER: CA, path length 1, common name ``name``."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    key = signer.private.public_key()
    builder = _builder(subject, subject, key, serial, not_before, not_after)
    return _sign(_as_ca(builder, path_length=1), signer)


def issue_model_ca(
    issuer: P384Signer,
    issuer_certificate: bytes,
    subject_key: PublicKey,
    name: str,
    not_before: Moment,
    not_after: Moment,
    *,
    serial: int,
) -> bytes:
    """Certificate of a model's CA in DER: CA, path length 0, common name ``name``."""
    parent = x509.load_der_x509_certificate(issuer_certificate)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    key = _p384(subject_key)
    builder = _builder(subject, parent.subject, key, serial, not_before, not_after)
    return _sign(_with_authority(_as_ca(builder, path_length=0), parent), issuer)


def issue_device(
    issuer: P384Signer,
    issuer_certificate: bytes,
    subject_key: PublicKey,
    ueid: bytes,
    not_before: Moment,
    not_after: Moment,
    *,
    serial: int,
) -> bytes:
    """Certificate of a device key in DER: no CA, signs data, serialNumber = UEID in hex."""
    parent = x509.load_der_x509_certificate(issuer_certificate)
    subject = x509.Name([x509.NameAttribute(NameOID.SERIAL_NUMBER, ueid.hex())])
    key = _p384(subject_key)
    builder = (
        _builder(subject, parent.subject, key, serial, not_before, not_after)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(digital_signature=True), critical=True)
    )
    return _sign(_with_authority(builder, parent), issuer)


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    serial: int,
    not_before: Moment,
    not_after: Moment,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(serial)
        .not_valid_before(_moment(not_before))
        .not_valid_after(_moment(not_after))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _as_ca(builder: x509.CertificateBuilder, path_length: int) -> x509.CertificateBuilder:
    return builder.add_extension(
        x509.BasicConstraints(ca=True, path_length=path_length), critical=True
    ).add_extension(_usage(key_cert_sign=True), critical=True)


def _with_authority(
    builder: x509.CertificateBuilder, parent: x509.Certificate
) -> x509.CertificateBuilder:
    identifier = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(
        parent.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    )
    return builder.add_extension(identifier, critical=False)


def _usage(*, digital_signature: bool = False, key_cert_sign: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=key_cert_sign,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )


def _sign(builder: x509.CertificateBuilder, issuer: P384Signer) -> bytes:
    certificate = builder.sign(issuer.private, hashes.SHA384(), ecdsa_deterministic=True)
    return certificate.public_bytes(serialization.Encoding.DER)


def _p384(key: PublicKey) -> ec.EllipticCurvePublicKey:
    if key.alg is not Algorithm.ES384:
        raise ValueError("certificates are issued for P-384 keys only")
    return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP384R1(), b"\x04" + key.raw)


def _moment(at: Moment) -> datetime:
    if isinstance(at, datetime):
        if at.tzinfo is None:
            raise ValueError("a time needs its zone")
        return at.astimezone(UTC)
    return _EPOCH + timedelta(milliseconds=at)


# --- Checking -------------------------------------------------------------------------------


def verify_chain(chain: Sequence[bytes], root: bytes, at: Moment, ueid: bytes) -> PublicKey:
    """The device key, if ``chain`` (device, model CA; DER) leads to ``root`` and names ``ueid``.

    ``root`` is the manufacturer's registered root: trust comes from there and not from this
    function. Steps, in order of cost; each fault is Refused(CERTIFICATE_INVALID) with the
    certificate and what is wrong with it as field, ``model.validity`` say:

    1. ``chain``: two certificates, none over 4096 bytes
    2. ``….form``: each parses as X.509 version 3 in DER
    3. ``….issuer``: names chain, device to model to root, and the root names itself
    4. ``….validity``: each is valid at ``at``, both ends included
    5. ``….extensions``: no critical extension besides basicConstraints and keyUsage
    6. ``….ca``: root and model are CAs, the device is not; path lengths allow the chain
    7. ``….key-usage``: CAs sign certificates; the device signs data and no certificates
    8. ``….algorithm``: keys on P-384, signatures with ECDSA and SHA-384
    9. ``device.subject``: one serialNumber attribute, the UEID in hex
    10. ``….signature``: root by itself, model by root, device by model

    Not checked: revocation lists (a revoked key is on the ledger), name constraints and
    certificate policies (as critical extensions they are refused).
    """
    if len(chain) != CHAIN_LENGTH or any(len(der) > MAX_CERTIFICATE_SIZE for der in (*chain, root)):
        raise _refused("chain", "it takes a device and a model CA certificate, 4096 bytes at most")
    names = ("device", "model", "root")
    parsed = [_parse(name, der) for name, der in zip(names, (*chain, root), strict=True)]
    pairs = list(zip(names, parsed, (*parsed[1:], parsed[2]), strict=True))
    for name, certificate, issuer in pairs:
        if certificate.issuer != issuer.subject or not list(certificate.issuer):
            raise _refused(f"{name}.issuer", "the issuer's name is not the next certificate's")
    moment = _moment(at)
    for name, certificate in zip(names, parsed, strict=True):
        _check_certificate(name, certificate, moment)
    _check_subject(parsed[0], ueid)
    for name, certificate, issuer in reversed(pairs):
        _check_signature(name, certificate, issuer)
    return _public_key("device", parsed[0])


def check_root(root: bytes) -> PublicKey:
    """The key of a manufacturer's root that may be registered; else Refused(CERTIFICATE_INVALID).

    Form, self-issued, CA, key usage, algorithm and its own signature. Validity is looked at when a
    chain is checked, since a root outlives many of them.
    """
    if len(root) > MAX_CERTIFICATE_SIZE:
        raise _refused("root", f"a certificate has at most {MAX_CERTIFICATE_SIZE} bytes")
    certificate = _parse("root", root)
    if certificate.issuer != certificate.subject or not list(certificate.subject):
        raise _refused("root.issuer", "a root names itself as its issuer")
    _check_certificate("root", certificate, certificate.not_valid_before_utc)
    _check_signature("root", certificate, certificate)
    return _public_key("root", certificate)


def _refused(field: str, detail: str) -> Refused:
    return Refused(Reason.CERTIFICATE_INVALID, detail, field=field)


def _parse(name: str, der: bytes) -> x509.Certificate:
    try:
        certificate = x509.load_der_x509_certificate(der)
        # Names, extensions and times are parsed when first used: do it here, where it is caught.
        _ = certificate.subject, certificate.issuer, certificate.extensions
        _ = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    except Exception as error:
        # The parser has half a dozen unrelated error classes (InvalidVersion, DuplicateExtension,
        # UnsupportedGeneralNameType, …) and its documentation lists no complete set.
        raise _refused(f"{name}.form", "the certificate cannot be parsed") from error
    if certificate.version is not x509.Version.v3:
        raise _refused(f"{name}.form", "the certificate is not of version 3")
    return certificate


def _check_certificate(name: str, certificate: x509.Certificate, at: datetime) -> None:
    if not certificate.not_valid_before_utc <= at <= certificate.not_valid_after_utc:
        raise _refused(f"{name}.validity", f"the certificate is not valid at {at.isoformat()}")
    for extension in certificate.extensions:
        if extension.critical and extension.oid not in _UNDERSTOOD:
            raise _refused(f"{name}.extensions", "an unknown extension is marked critical")
    _check_constraints(name, certificate)
    _check_usage(name, certificate)
    if certificate.signature_algorithm_oid != SignatureAlgorithmOID.ECDSA_WITH_SHA384:
        raise _refused(f"{name}.algorithm", "the signature is not ECDSA with SHA-384")
    _public_key(name, certificate)


def _check_constraints(name: str, certificate: x509.Certificate) -> None:
    constraints = _extension(name, certificate, x509.BasicConstraints)
    if constraints.ca is (name == "device"):
        raise _refused(f"{name}.ca", "root and model have to be CAs, and the device none")
    length = constraints.path_length
    if name == "root" and length is not None and length < 1:
        raise _refused("root.ca", "the root's path length allows no model CA")


def _check_usage(name: str, certificate: x509.Certificate) -> None:
    usage = _extension(name, certificate, x509.KeyUsage)
    if name == "device":
        if not usage.digital_signature or usage.key_cert_sign:
            raise _refused("device.key-usage", "a device signs data and no certificates")
    elif not usage.key_cert_sign:
        raise _refused(f"{name}.key-usage", "the key may not sign certificates")


def _extension(name: str, certificate: x509.Certificate, kind: type[_Extension]) -> _Extension:
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound as error:
        field = "ca" if kind is x509.BasicConstraints else "key-usage"
        raise _refused(f"{name}.{field}", f"the certificate has no {kind.__name__}") from error


def _public_key(name: str, certificate: x509.Certificate) -> PublicKey:
    try:
        key = certificate.public_key()
    except (ValueError, UnsupportedAlgorithm) as error:
        raise _refused(f"{name}.algorithm", "the public key cannot be read") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP384R1):
        raise _refused(f"{name}.algorithm", "the public key is not on P-384")
    point = key.public_bytes(
        serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
    )
    return PublicKey(Algorithm.ES384, point[1:])


def _check_subject(device: x509.Certificate, ueid: bytes) -> None:
    attributes = device.subject.get_attributes_for_oid(NameOID.SERIAL_NUMBER)
    if [attribute.value for attribute in attributes] != [ueid.hex()]:
        raise _refused("device.subject", "the subject's serialNumber is not the UEID")


def _check_signature(name: str, certificate: x509.Certificate, issuer: x509.Certificate) -> None:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm) as error:
        raise _refused(f"{name}.signature", "the issuer did not sign this certificate") from error
