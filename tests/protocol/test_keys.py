"""Keys: which points are taken, which signatures verify, and that secrets stay inside."""

import hashlib
import pickle
from concurrent.futures import ThreadPoolExecutor

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448
from hypothesis import given
from hypothesis import strategies as st

from ledger.errors import ConfigurationError, Reason
from ledger.protocol import cbor, keys
from ledger.protocol.keys import Algorithm, Ed25519Signer, P384Signer, PublicKey, signer_from_pem
from tests.protocol.refusals import mutations, only_refusals, refused

ED = Ed25519Signer.from_seed(b"\x01" * 32)
EC = P384Signer.from_seed(b"\x01" * 32)
BOTH = pytest.mark.parametrize("signer", [ED, EC], ids=["ed25519", "es384"])

# RFC 8032, 7.1, TEST 1 (empty message).
RFC8032_SEED = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"
RFC8032_KEY = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
RFC8032_SIGNATURE = (
    "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555"
    "fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"
)
# RFC 6979, A.2.6: P-384, SHA-384, message "sample".
RFC6979_SCALAR = 0x6B9D3DAD2E1B8C1C05B19875B6659F4DE23C3B667BF297BA9AA47740787137D896D5724E4C70A825F872C9EA60D2EDF5  # noqa: E501
RFC6979_SIGNATURE = (
    "94edbb92a5ecb8aad4736e56c691916b3f88140666ce9fa73d64c4ea95ad133c81a648152e44acf96e36dd1e80fabe46"
    "99ef4aeb15f178cea1fe40db2603138f130e740a19624526203b6351d0a3a94fa329c145786e679e7b82c71a38628ac8"
)
ED25519_ORDER = (1 << 252) + 27742317777372353535851937790883648493
ED25519_PRIME = (1 << 255) - 19
P384_PRIME = (1 << 384) - (1 << 128) - (1 << 96) + (1 << 32) - 1

# The encodings of the eight points of small order, two of them also with the other sign bit and
# with y not reduced.
SMALL_ORDER = [
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0000000000000000000000000000000000000000000000000000000000000080",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000080",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
]


# --- signatures -----------------------------------------------------------------------------


def test_ed25519_gives_the_published_key_and_signature() -> None:
    signer = Ed25519Signer.from_seed(bytes.fromhex(RFC8032_SEED))
    assert signer.public.raw.hex() == RFC8032_KEY
    assert signer.sign(b"").hex() == RFC8032_SIGNATURE


def test_es384_gives_the_published_deterministic_signature() -> None:
    signer = P384Signer(ec.derive_private_key(RFC6979_SCALAR, ec.SECP384R1()))
    assert signer.sign(b"sample").hex() == RFC6979_SIGNATURE


@BOTH
def test_a_signature_verifies_over_its_message_only(signer: keys.SigningKey) -> None:
    signature = signer.sign(b"message")
    assert signature == signer.sign(b"message")
    assert len(signature) == signer.public.alg.signature_size
    assert signer.public.verify(b"message", signature)
    assert not signer.public.verify(b"messagf", signature)
    assert not signer.public.verify(b"", signature)


@BOTH
@given(at=st.integers(0, 63), bit=st.integers(0, 7))
def test_a_signature_with_a_flipped_bit_does_not_verify(
    signer: keys.SigningKey, at: int, bit: int
) -> None:
    signature = bytearray(signer.sign(b"message"))
    signature[at] ^= 1 << bit
    assert not signer.public.verify(b"message", bytes(signature))


@BOTH
@pytest.mark.parametrize("change", [0, 1, 63, 65, 95, 97, 200])
def test_a_signature_of_another_size_does_not_verify(signer: keys.SigningKey, change: int) -> None:
    assert not signer.public.verify(b"message", (signer.sign(b"message") + bytes(200))[:change])


@BOTH
def test_a_signature_of_zeros_or_ones_does_not_verify(signer: keys.SigningKey) -> None:
    size = signer.public.alg.signature_size
    assert not signer.public.verify(b"message", bytes(size))
    assert not signer.public.verify(b"message", b"\xff" * size)


def test_an_ed25519_signature_with_an_unreduced_scalar_does_not_verify() -> None:
    signature = ED.sign(b"message")
    scalar = int.from_bytes(signature[32:], "little") + ED25519_ORDER
    assert not ED.public.verify(b"message", signature[:32] + scalar.to_bytes(32, "little"))


def test_another_key_of_the_same_kind_does_not_verify() -> None:
    for signer, other in ((ED, Ed25519Signer), (EC, P384Signer)):
        stranger = other.from_seed(b"\x02" * 32)
        assert not stranger.public.verify(b"message", signer.sign(b"message"))


def test_verify_many_answers_row_by_row_and_runs_in_an_executor() -> None:
    rows = [
        (-8, ED.public.raw, b"a", ED.sign(b"a")),
        (-19, ED.public.raw, b"b", ED.sign(b"b")),
        (-8, ED.public.raw, b"c", ED.sign(b"a")),
        (-35, EC.public.raw, b"a", EC.sign(b"a")),
        (-51, EC.public.raw, b"b", EC.sign(b"b")),
        (-35, EC.public.raw, b"c", EC.sign(b"a")),
        (-8, EC.public.raw, b"a", EC.sign(b"a")),
        (-7, EC.public.raw, b"a", EC.sign(b"a")),
        (-8, bytes(32), b"a", ED.sign(b"a")),
    ]
    expected = [True, True, False, True, True, False, False, False, False]
    assert keys.verify_many(rows) == expected
    assert keys.verify_many([]) == []
    assert pickle.loads(pickle.dumps(keys.verify_many)) is keys.verify_many  # noqa: S301
    with ThreadPoolExecutor(1) as executor:
        assert executor.submit(keys.verify_many, rows).result() == expected


def test_unknown_algorithms_are_refused() -> None:
    assert [Algorithm.from_wire(number) for number in (-8, -19, -35, -51)] == [
        Algorithm.ED25519,
        Algorithm.ED25519,
        Algorithm.ES384,
        Algorithm.ES384,
    ]
    for number in (-7, -36, -37, -9, -53, 0, 1, 5, 1 << 63):
        with refused(Reason.COSE_ALGORITHM, "alg"):
            Algorithm.from_wire(number)


# --- public keys ----------------------------------------------------------------------------


@pytest.mark.parametrize("point", SMALL_ORDER)
def test_an_ed25519_point_of_small_order_is_refused(point: str) -> None:
    with refused(Reason.KEY_INVALID):
        PublicKey(Algorithm.ED25519, bytes.fromhex(point))


@pytest.mark.parametrize("y", range(19))
def test_an_ed25519_point_with_unreduced_y_is_refused(y: int) -> None:
    for sign in (0, 1 << 255):
        with refused(Reason.KEY_INVALID):
            PublicKey(Algorithm.ED25519, (ED25519_PRIME + y | sign).to_bytes(32, "little"))


def test_an_ed25519_value_off_the_curve_is_refused() -> None:
    with refused(Reason.KEY_INVALID):
        PublicKey(Algorithm.ED25519, (2).to_bytes(32, "little"))


def test_a_p384_point_off_the_curve_is_refused() -> None:
    raw = bytearray(EC.public.raw)
    raw[-1] ^= 1
    for point in (bytes(raw), bytes(96), raw[48:] + raw[:48]):
        with refused(Reason.KEY_INVALID):
            PublicKey(Algorithm.ES384, bytes(point))


def test_a_p384_coordinate_that_is_not_reduced_is_refused() -> None:
    with refused(Reason.KEY_INVALID):
        PublicKey(Algorithm.ES384, P384_PRIME.to_bytes(48) + EC.public.raw[48:])


@pytest.mark.parametrize("size", [0, 31, 33, 48, 95, 97])
def test_a_raw_key_of_another_size_is_refused(size: int) -> None:
    for alg in Algorithm:
        with refused(Reason.KEY_INVALID, "key"):
            PublicKey(alg, bytes([3]) * size)


@BOTH
def test_a_cose_key_comes_back_and_gives_the_thumbprint(signer: keys.SigningKey) -> None:
    key = signer.public
    assert PublicKey.from_cose_key(key.to_cose_key()) == key
    assert key.thumbprint == hashlib.sha256(key.to_cose_key()).digest()
    assert key.kid == key.thumbprint[:16]


def test_the_bytes_of_a_cose_key_are_pinned() -> None:
    x, y = EC.public.raw[:48], EC.public.raw[48:]
    assert ED.public.to_cose_key().hex() == "a301012006215820" + ED.public.raw.hex()
    assert EC.public.to_cose_key().hex() == ("a401022002215830" + x.hex() + "225830" + y.hex())


ED_X = ED.public.raw
EC_X, EC_Y = EC.public.raw[:48], EC.public.raw[48:]


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ({}, Reason.KEY_INVALID),
        ({-1: 6, -2: ED_X}, Reason.KEY_INVALID),
        ({1: 1, -2: ED_X}, Reason.KEY_INVALID),
        ({1: 1, -1: 6}, Reason.KEY_INVALID),
        ({1: True, -1: 6, -2: ED_X}, Reason.KEY_INVALID),
        ({1: 1.0, -1: 6, -2: ED_X}, Reason.KEY_INVALID),
        ({1: 1, -1: 4, -2: ED_X}, Reason.KEY_INVALID),
        ({1: 1, -1: 6, -2: ED_X, -3: b""}, Reason.KEY_INVALID),
        ({1: 1, -1: 6, -2: ED_X, -4: bytes(32)}, Reason.KEY_INVALID),
        ({1: 1, 2: b"kid", -1: 6, -2: ED_X}, Reason.KEY_INVALID),
        ({1: 1, 3: -8, -1: 6, -2: ED_X}, Reason.KEY_INVALID),
        ({1: 1, -1: 6, -2: "x"}, Reason.KEY_INVALID),
        ({1: 1, -1: 6, -2: bytes(32)}, Reason.KEY_INVALID),
        ({1: 2, -1: 6, -2: ED_X}, Reason.KEY_INVALID),
        ({1: 2, -1: 2, -2: EC_X, -3: True}, Reason.KEY_INVALID),
        ({1: 2, -1: 2, -2: EC_X}, Reason.KEY_INVALID),
        ({1: 2, -1: 1, -2: EC_X, -3: EC_Y}, Reason.KEY_INVALID),
        ({1: 2, -1: 2, -2: EC_X[:-1], -3: EC_X[-1:] + EC_Y}, Reason.KEY_INVALID),
        ({1: 2, -1: 2, -2: EC_Y, -3: EC_X}, Reason.KEY_INVALID),
        ([1, 6, ED_X], Reason.KEY_INVALID),
        ({1: 1, -1: 6, -2: {1: 2}}, Reason.CBOR_TOO_DEEP),
        ({1: 1, -1: 6, -2: bytes(128)}, Reason.TOO_LARGE),
    ],
)
def test_a_cose_key_with_anything_else_in_it_is_refused(members: object, reason: Reason) -> None:
    with refused(reason):
        PublicKey.from_cose_key(cbor.encode(members))


def test_keys_compare_by_value_and_survive_pickling() -> None:
    again = PublicKey(Algorithm.ED25519, ED.public.raw)
    assert again == ED.public
    assert hash(again) == hash(ED.public)
    assert pickle.loads(pickle.dumps(EC.public)) == EC.public  # noqa: S301
    assert ED.public.kid.hex() in repr(ED.public)


@given(st.binary(max_size=130))
def test_random_bytes_as_a_cose_key_are_only_refused(data: bytes) -> None:
    assert only_refusals(PublicKey.from_cose_key, data) is None


@given(
    mutations(ED.public.to_cose_key()) | mutations(EC.public.to_cose_key()),
)
def test_a_mutated_cose_key_is_refused_or_a_key_of_its_own(data: bytes) -> None:
    key = only_refusals(PublicKey.from_cose_key, data)
    if key is not None:
        assert key.to_cose_key() == data


# --- signers --------------------------------------------------------------------------------


def test_a_seed_gives_the_same_key_each_time() -> None:
    for kind in (Ed25519Signer, P384Signer):
        assert kind.from_seed(b"\x05" * 32).public == kind.from_seed(b"\x05" * 32).public
        assert kind.from_seed(b"\x05" * 32).public != kind.from_seed(b"\x06" * 32).public
    # Fleets are made from seeds: a key that moved would change every recorded simulation.
    assert EC.public.kid.hex() == "37bc91ff92e07c0bdf51ca942dda4f73"
    assert ED.public.kid.hex() == "dd2fb4e18b5e1ce30c4633aaa5f681da"


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_seed_of_another_size_raises(size: int) -> None:
    for kind in (Ed25519Signer, P384Signer):
        with pytest.raises(ValueError, match="32 bytes"):
            kind.from_seed(bytes(size))


@pytest.mark.parametrize("password", [None, b"correct horse"])
def test_a_signer_survives_pem(password: bytes | None) -> None:
    for signer in (ED, EC):
        pem = signer.to_pem(password)
        assert (b"ENCRYPTED" in pem) is (password is not None)
        assert type(signer).from_pem(pem, password).public == signer.public
        assert signer_from_pem(pem, password).sign(b"m") == signer.sign(b"m")


def pem_of(private: ed448.Ed448PrivateKey | ec.EllipticCurvePrivateKey) -> bytes:
    return private.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


LOCKED = ED.to_pem(b"right")


@pytest.mark.parametrize(
    ("pem", "password", "message"),
    [
        (LOCKED, b"wrong", "cannot be read with this password"),
        (LOCKED, None, "is encrypted"),
        (LOCKED, b"", "is encrypted"),
        (ED.to_pem(), b"needless", "not encrypted"),
        (b"", None, "cannot be read"),
        (b"garbage", None, "cannot be read"),
        (ED.to_pem()[:-40], None, "cannot be read"),
        (ED.to_pem().replace(b"PRIVATE", b"PUBLIC"), None, "cannot be read"),
        (pem_of(ed448.Ed448PrivateKey.generate()), None, "neither Ed25519 nor P-384"),
        (pem_of(ec.derive_private_key(5, ec.SECP256R1())), None, "not on P-384"),
    ],
)
def test_a_pem_that_gives_no_key_raises_in_one_line(
    pem: bytes, password: bytes | None, message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message) as caught:
        signer_from_pem(pem, password)
    assert "\n" not in str(caught.value)


def test_a_pem_of_the_other_kind_raises() -> None:
    with pytest.raises(ConfigurationError, match="not the one expected"):
        Ed25519Signer.from_pem(EC.to_pem())
    with pytest.raises(ConfigurationError, match="not the one expected"):
        P384Signer.from_pem(ED.to_pem())


@given(mutations(LOCKED) | mutations(EC.to_pem()))
def test_a_mutated_pem_gives_a_key_or_our_error(pem: bytes) -> None:
    for password in (None, b"right"):
        try:
            signer_from_pem(pem, password)
        except ConfigurationError as error:
            message = str(error)
        else:
            continue
        assert "\n" not in message


@BOTH
def test_a_signer_shows_no_secret_and_does_not_leave_the_process(
    signer: Ed25519Signer | P384Signer,
) -> None:
    assert repr(signer) == f"{type(signer).__name__}(kid={signer.public.kid.hex()})"
    with pytest.raises(TypeError):
        pickle.dumps(signer)
