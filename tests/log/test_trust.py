"""Trust policies: what parses, what does not, and what a quorum says of a checkpoint."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.errors import Reason, Refused
from ledger.log.checkpoint import Checkpoint, sign_checkpoint
from ledger.log.cosignature import Cosigner, MlDsa44Key
from ledger.log.note import NoteSigner, Signer
from ledger.log.quorum import Endorsement, evaluate, judge
from ledger.log.trust import MAX_ITEMS, MAX_POLICY_SIZE, Group, TrustedWitness, TrustPolicy
from tests.log.keys import TestKey

ORIGIN = "example.com/log"
LOG = NoteSigner(ORIGIN, TestKey(1))
LOG_VKEY = LOG.vkey.encode()
NAMES = ("X1", "X2", "X3", "Y1", "Y2", "Y3")
WITNESSES = {name: Cosigner(f"{name}.example", TestKey(n)) for n, name in enumerate(NAMES, 10)}
VKEYS = {name: cosigner.vkey.encode() for name, cosigner in WITNESSES.items()}
CHECKPOINT = Checkpoint(ORIGIN, 7, bytes(range(32)))
ML_LOG = Cosigner(ORIGIN, MlDsa44Key.from_seed(bytes(32)))

# The two levels of the standard's example, with keys.
TWO_LEVELS = f"""# who we trust
log {LOG_VKEY} https://log.example/

witness X1 {VKEYS["X1"]} https://x1.example/w
witness X2 {VKEYS["X2"]}
\twitness   X3 \t {VKEYS["X3"]}\t
group X-witnesses 2 X1 X2 X3

witness Y1 {VKEYS["Y1"]}
witness Y2 {VKEYS["Y2"]}
witness Y3 {VKEYS["Y3"]}
group Y-witnesses any Y1 Y2 Y3

  # both
group X-and-Y all X-witnesses Y-witnesses
quorum X-and-Y
"""
POLICY = TrustPolicy.parse(TWO_LEVELS.encode())


def policy(text: str) -> TrustPolicy:
    return TrustPolicy.parse(text.encode())


def note(*signers: Signer, checkpoint: Checkpoint = CHECKPOINT) -> bytes:
    return sign_checkpoint(checkpoint, signers)


def cosigned(**times: int) -> bytes:
    return note(LOG, *(WITNESSES[name].at(time) for name, time in times.items()))


def refused(data: bytes) -> Refused:
    with pytest.raises(Refused) as caught:
        TrustPolicy.parse(data)
    return caught.value


def unjudged(data: bytes, **options: object) -> Reason:
    with pytest.raises(Refused) as caught:
        evaluate(options.pop("policy", POLICY), data, **options)  # type: ignore[arg-type]
    return caught.value.reason


def test_policy_of_two_levels_is_read() -> None:
    assert [log.url for log in POLICY.logs] == ["https://log.example/"]
    assert [w.name for w in POLICY.witnesses] == list(NAMES)
    assert POLICY.groups == (
        Group("X-witnesses", 2, ("X1", "X2", "X3")),
        Group("Y-witnesses", 1, ("Y1", "Y2", "Y3")),
        Group("X-and-Y", 2, ("X-witnesses", "Y-witnesses")),
    )
    assert POLICY.quorum == "X-and-Y"


def test_policy_is_written_and_read_back() -> None:
    assert TrustPolicy.parse(POLICY.encode()) == POLICY
    none = policy("quorum none\n")
    assert none == TrustPolicy((), (), (), None)
    assert none.encode() == b"quorum none\n"


@pytest.mark.parametrize("name", ["two words", "", "none", "tab\t", "line\nquorum none"])
def test_policy_whose_names_cannot_be_written_is_refused(name: str) -> None:
    witness = TrustedWitness(name, WITNESSES["X1"].vkey)
    with pytest.raises(Refused):
        TrustPolicy((), (witness,), (), name).encode()


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("quorum none\n", id="nothing but none"),
        pytest.param(f"log {LOG_VKEY}\nquorum none\n", id="log, no witness"),
        pytest.param(f"witness a {VKEYS['X1']}\nquorum a\n", id="single witness"),
        pytest.param(f"witness any {VKEYS['X1']}\ngroup all any any\nquorum all\n", id="keywords"),
        pytest.param(f"witness a {VKEYS['X1']}\ngroup g 1 a\nquorum a\n", id="member as quorum"),
        pytest.param(f"quorum none\nwitness a {VKEYS['X1']}\n", id="quorum first"),
        pytest.param(f"log {ML_LOG.vkey.encode()}\nquorum none\n", id="log with ML-DSA-44"),
        pytest.param(f"witness a {ML_LOG.vkey.encode()}\nquorum a\n", id="witness with ML-DSA-44"),
        pytest.param("# é\u3000 \nquorum none\n", id="words outside ASCII in a comment"),
    ],
)
def test_policy_within_the_rules_is_accepted(text: str) -> None:
    assert TrustPolicy.parse(policy(text).encode()) == policy(text)


A, B = f"witness a {VKEYS['X1']}\n", f"witness b {VKEYS['X2']}\n"


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="empty"),
        pytest.param(f"log {LOG_VKEY}\n", id="no quorum"),
        pytest.param("quorum none", id="no final newline"),
        pytest.param("quorum none\r\n", id="carriage return"),
        pytest.param("quorum none\x00\n", id="nul"),
        pytest.param("quorum none\x7f\n", id="delete"),
        pytest.param("quorum none\nquorum none\n", id="two quorum lines"),
        pytest.param("quorum\n", id="quorum of nothing"),
        pytest.param("quorum none none\n", id="quorum of two"),
        pytest.param("quorum none # why\n", id="comment behind"),
        pytest.param("quorum x\n", id="quorum undefined"),
        pytest.param("quorum a\n" + A, id="quorum defined later"),
        pytest.param("Quorum none\n", id="upper case"),
        pytest.param("quorum\u00a0none\n", id="hard space is no blank"),
        pytest.param("mirror x\nquorum none\n", id="unknown keyword"),
        pytest.param("log\nquorum none\n", id="log without key"),
        pytest.param(f"log {LOG_VKEY} u v\nquorum none\n", id="log with two URLs"),
        pytest.param(f"log {LOG_VKEY}\nlog {LOG_VKEY} u\nquorum none\n", id="log twice"),
        pytest.param(f"witness a\n{B}quorum b\n", id="witness without key"),
        pytest.param(A.strip() + " u v\nquorum a\n", id="witness with two URLs"),
        pytest.param(A + A.replace("a", "b", 1) + "quorum a\n", id="word changed"),
        pytest.param(A + f"witness b {VKEYS['X1']}\nquorum a\n", id="witness key twice"),
        pytest.param(A + f"witness a {VKEYS['X2']}\nquorum a\n", id="witness name twice"),
        pytest.param(f"witness none {VKEYS['X1']}\nquorum none\n", id="witness called none"),
        pytest.param(A + "group none any a\nquorum none\n", id="group called none"),
        pytest.param(A + "group a any a\nquorum a\n", id="group with a witness's name"),
        pytest.param(A + "group g any a\ngroup g any a\nquorum g\n", id="group name twice"),
        pytest.param(A + "group g any none\nquorum g\n", id="none as member"),
        pytest.param("group g any g\nquorum g\n", id="group in itself"),
        pytest.param("group g any a\n" + A + "quorum g\n", id="member defined later"),
        pytest.param(A + "group g any\nquorum g\n", id="no member"),
        pytest.param(A + "group g all a a\nquorum g\n", id="member twice"),
        pytest.param(A + "group g any a\ngroup h any a\nquorum g\n", id="member of two groups"),
        pytest.param(A + B + "group g 0 a b\nquorum g\n", id="threshold 0"),
        pytest.param(A + B + "group g 3 a b\nquorum g\n", id="threshold above members"),
        pytest.param(A + B + "group g 01 a b\nquorum g\n", id="leading zero"),
        pytest.param(A + B + "group g +1 a b\nquorum g\n", id="sign"),
        pytest.param(A + B + "group g ALL a b\nquorum g\n", id="threshold in upper case"),
        pytest.param(A + B + "group g ² a b\nquorum g\n", id="other digits"),
    ],
)
def test_policy_against_the_rules_is_refused(text: str) -> None:
    assert refused(text.encode()).reason in (Reason.NOTE_MALFORMED, Reason.KEY_INVALID)


@pytest.mark.parametrize(
    "text",
    [
        f"log {VKEYS['X1']}\nquorum none\n",
        f"witness a {LOG_VKEY}\nquorum a\n",
        f"witness a {VKEYS['X1']}=\nquorum a\n",
        f"witness a {VKEYS['X1'].replace('X1', 'X2')}\nquorum a\n",
        "witness a \udcff+00000000+BA==\nquorum a\n",
    ],
)
def test_key_of_the_wrong_type_or_form_is_refused_with_its_line(text: str) -> None:
    error = refused(text.encode("utf-8", "surrogateescape"))
    assert (error.reason, error.field) == (Reason.KEY_INVALID, "policy line 1")


def test_log_and_witness_that_one_signature_line_would_stand_for_are_refused() -> None:
    vkey = ML_LOG.vkey.encode()
    error = refused(f"log {vkey}\nwitness a {vkey}\nquorum a\n".encode())
    assert error.reason is Reason.NOTE_MALFORMED


def test_names_are_bytes_and_no_normal_form_joins_them() -> None:
    data = b"witness \xff " + VKEYS["X1"].encode() + b"\nquorum \xff\n"
    assert TrustPolicy.parse(data).encode() == data
    kelvin = A.replace("witness a", "witness \u212a") + "quorum K\n"
    assert refused(kelvin.encode()).reason is Reason.NOTE_MALFORMED


def test_policy_above_the_limits_is_refused() -> None:
    assert refused(b"#" * (MAX_POLICY_SIZE + 1)).reason is Reason.TOO_LARGE
    groups = ["group g0 any a"] + [f"group g{n} any g{n - 1}" for n in range(1, MAX_ITEMS)]
    text = A + "\n".join(groups) + f"\nquorum g{MAX_ITEMS - 1}\n"
    deep = policy(text)
    assert judge(deep, {"a": 5}) == (True, ("a",))
    extra = text + f"group last any g{MAX_ITEMS - 1}\n"
    assert refused(extra.encode()).reason is Reason.TOO_LARGE


# --- Evaluation -----------------------------------------------------------------------------


def test_quorum_of_two_levels_is_met_by_two_and_one() -> None:
    found = evaluate(POLICY, cosigned(X1=100, X3=90, Y2=95), origin=ORIGIN)
    found.require_quorum()
    assert found.checkpoint == CHECKPOINT
    assert found.logs == (LOG.vkey,)
    assert found.needed == ("X1", "X3", "Y2")
    assert (found.oldest_needed_s, found.age_s(100), found.age_s(0)) == (90, 10, 0)


@pytest.mark.parametrize("names", [(), ("X1", "Y1"), ("X1", "X2"), ("Y1", "Y2", "Y3")])
def test_quorum_is_unmet_without_both_groups(names: tuple[str, ...]) -> None:
    found = evaluate(POLICY, cosigned(**dict.fromkeys(names, 1)))
    assert not found.quorum_met
    assert [voucher.witness for voucher in found.vouchers] == list(names)
    assert (found.needed, found.oldest_needed_s, found.age_s(9)) == ((), None, None)
    with pytest.raises(Refused) as caught:
        found.require_quorum()
    assert caught.value.reason is Reason.SIGNATURE_INVALID


def test_oldest_needed_passes_over_older_ones_that_are_not_needed() -> None:
    found = evaluate(POLICY, cosigned(X1=10, X2=50, X3=60, Y1=5, Y2=70))
    assert found.needed == ("X2", "X3", "Y2")
    assert found.oldest_needed_s == 50
    assert len(found.vouchers) == 5


def test_cosignature_from_after_the_present_does_not_count() -> None:
    data = cosigned(X1=100, X2=101, Y1=100)
    assert evaluate(POLICY, data, latest_s=101).quorum_met
    found = evaluate(POLICY, data, latest_s=100)
    assert not found.quorum_met
    assert [voucher.witness for voucher in found.ignored] == ["X2"]


def test_quorum_none_asks_for_the_log_only() -> None:
    found = evaluate(policy(f"log {LOG_VKEY}\nquorum none\n"), note(LOG))
    assert (found.quorum_met, found.needed, found.oldest_needed_s) == (True, (), None)


def test_policy_without_logs_is_completed_by_the_caller() -> None:
    bare = policy("quorum none\n")
    assert evaluate(bare, note(LOG), extra_logs=[LOG.vkey]).logs == (LOG.vkey,)
    assert unjudged(note(LOG), policy=bare) is Reason.SIGNATURE_INVALID


def test_checkpoint_that_only_witnesses_signed_is_refused() -> None:
    data = note(*(WITNESSES[name].at(1) for name in NAMES))
    assert unjudged(data) is Reason.SIGNATURE_INVALID


def test_checkpoint_of_another_origin_is_refused() -> None:
    other = Checkpoint("example.com/other", 7, bytes(32))
    assert unjudged(note(LOG, checkpoint=other)) is Reason.SIGNATURE_INVALID
    assert unjudged(note(LOG), origin="example.com/other") is Reason.NOTE_MALFORMED


def test_false_signature_of_a_listed_key_refuses_the_whole() -> None:
    moved = note(LOG, WITNESSES["X1"].at(1)).replace(b"\n7\n", b"\n8\n")
    assert unjudged(moved) is Reason.SIGNATURE_INVALID
    wrong = Cosigner("X1.example", TestKey(99)).cosign(CHECKPOINT.encode(), 1)
    line = type(wrong)(wrong.name, WITNESSES["X1"].vkey.key_id, wrong.signature).line()
    assert unjudged(note(LOG) + line.encode()) is Reason.SIGNATURE_INVALID


def test_unknown_signatures_are_ignored() -> None:
    stranger = Cosigner("X1.example", TestKey(99))
    found = evaluate(POLICY, note(LOG, stranger.at(1), NoteSigner("nobody", TestKey(98))))
    assert found.vouchers == ()


def test_ml_dsa_log_is_taken_and_its_extension_lines_are_not() -> None:
    trusted = policy(f"log {ML_LOG.vkey.encode()}\nquorum none\n")
    assert evaluate(trusted, note(ML_LOG.at(0))).logs == (ML_LOG.vkey,)
    more = Checkpoint(ORIGIN, 7, bytes(32), ("extension",))
    assert unjudged(note(ML_LOG.at(0), checkpoint=more), policy=trusted) is Reason.SIGNATURE_INVALID


def test_ml_dsa_cosignature_without_time_is_older_than_any_limit() -> None:
    witness = Cosigner("w", MlDsa44Key.from_seed(bytes([1]) * 32))
    trusted = policy(f"log {LOG_VKEY}\nwitness w {witness.vkey.encode()}\nquorum w\n")
    assert evaluate(trusted, note(LOG, witness.at(0))).age_s(1_800_000_000) == 1_800_000_000


def naive_quorum(name: str, tree: TrustPolicy, present: frozenset[str]) -> bool:
    groups = {group.name: group for group in tree.groups}
    if name not in groups:
        return name in present
    group = groups[name]
    return sum(naive_quorum(m, tree, present) for m in group.members) >= group.threshold


@st.composite
def trees(draw: st.DrawFn) -> TrustPolicy:
    names = list(NAMES[: draw(st.integers(1, 6))])
    lines = [f"witness {name} {VKEYS[name]}" for name in names]
    free, number = names, 0
    while len(free) > 1 and draw(st.booleans()):
        members = draw(st.lists(st.sampled_from(free), min_size=1, unique=True))
        name, number = f"g{number}", number + 1
        lines.append(f"group {name} {draw(st.integers(1, len(members)))} {' '.join(members)}")
        free = [other for other in free if other not in members] + [name]
    lines.append(f"quorum {draw(st.sampled_from(free))}")
    return policy("\n".join(lines) + "\n")


@given(trees(), st.data())
def test_judgement_is_that_of_the_definition_and_the_choice_the_freshest(
    tree: TrustPolicy, data: st.DataObject
) -> None:
    names = [w.name for w in tree.witnesses]
    times = {name: data.draw(st.integers(0, 9)) for name in names if data.draw(st.booleans())}
    assert tree.quorum is not None
    met, needed = judge(tree, times)
    assert met == naive_quorum(tree.quorum, tree, frozenset(times))
    if not met:
        return
    assert naive_quorum(tree.quorum, tree, frozenset(needed))
    best = max(
        min(times[name] for name in chosen)
        for picks in product((False, True), repeat=len(times))
        if (chosen := [name for name, pick in zip(times, picks, strict=True) if pick])
        and naive_quorum(tree.quorum, tree, frozenset(chosen))
    )
    assert min(times[name] for name in needed) == best


LINES = [*TWO_LEVELS.splitlines(keepends=True), "quorum none\n", "group g any X1\n", "log \n"]


@given(st.lists(st.sampled_from(LINES), max_size=20), st.binary(max_size=20), st.data())
def test_fuzzed_policy_is_refused_or_reads_back(
    lines: list[str], inserted: bytes, data: st.DataObject
) -> None:
    whole = TWO_LEVELS.encode()
    begin, end = data.draw(st.integers(0, len(whole))), data.draw(st.integers(0, len(whole)))
    for text in ("".join(lines).encode(), whole[:begin] + inserted + whole[end:], inserted):
        try:
            parsed = TrustPolicy.parse(text)
        except Refused:
            continue
        assert TrustPolicy.parse(parsed.encode()) == parsed


@given(st.binary(max_size=60), st.data())
def test_fuzzed_checkpoint_is_refused_or_is_the_signed_one(
    inserted: bytes, data: st.DataObject
) -> None:
    whole = cosigned(X1=100, X3=90, Y2=95)
    begin, end = data.draw(st.integers(0, len(whole))), data.draw(st.integers(0, len(whole)))
    for text in (inserted, whole[:begin] + inserted + whole[end:]):
        try:
            found: Endorsement = evaluate(POLICY, text)
        except Refused:
            continue
        assert found.checkpoint == CHECKPOINT
