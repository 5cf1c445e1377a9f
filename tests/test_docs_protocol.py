"""The pages on profile, statements, rules and states say what the code does.

``python -m tests.test_docs_protocol`` prints the tables that are made from the code.
"""

import inspect
import re
import types
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest
from pydantic import BaseModel

from ledger.errors import Reason
from ledger.passport import words
from ledger.protocol import cbor, eat, fields, heartbeat
from ledger.protocol import statements as st
from ledger.protocol.keys import Ed25519Signer
from ledger.protocol.landmarks import Address, Landmark, RangingRow
from ledger.protocol.policy import Policy, ReferenceValue, RuleId
from ledger.protocol.statements import Action, Founder, Kind, Role
from ledger.registry import judge
from ledger.registry.records import ChipState, may_decide, state_after

DOCS = Path(__file__).resolve().parent.parent / "docs"
PROFILE, STATEMENTS, RULES, STATES = (
    (DOCS / f"{name}.md").read_text() for name in ("profile", "statements", "rules", "states")
)


def section(text: str, title: str) -> str:
    return text.split(f"\n## {title}\n")[1].split("\n## ")[0]


def rows(text: str) -> list[list[str]]:
    """Cells of all table rows, headings and rules of dashes left out."""
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    return [row for row in cells if not set(row[0]) <= {"-", ":"}]


def first(text: str) -> list[str]:
    """The first cells that are code, without their quotes."""
    return [row[0].strip("`") for row in rows(text) if row[0].startswith("`")]


# -- statements ------------------------------------------------------------------------------

NAMED: list[tuple[Any, str]] = [
    (fields.Seconds, "seconds since 1970"),
    (fields.Millis, "milliseconds since 1970"),
    (fields.UInt, "uint under 2^53"),
    (fields.PartyId, "party id"),
    (fields.LicenceId, "licence id"),
    (fields.ModelName, "model name"),
    (fields.Country, "country"),
    (fields.ShortText, "text, 1 to 200"),
    (fields.LongText, "text, 1 to 500"),
    (fields.CoseKeyBytes, "COSE_Key, 32 to 160 bytes"),
    (fields.CertificateDer, "certificate, DER, 64 to 4096 bytes"),
    (fields.ChipList, "1 to 256 UEIDs, each once"),
    (fields.UeidBytes, "UEID"),
    (fields.Latitude, "float, degrees, -90 to 90"),
    (fields.Longitude, "float, degrees, -180 to 180"),
    (RuleId, "rule id"),
    (Founder, "founder"),
    (ReferenceValue, "reference value"),
    (Landmark, "landmark"),
    (RangingRow, "ranging row"),
    (Address, "host:port"),
    (float, "float"),
    (int, "integer"),
    (bytes, "bytes"),
    (str, "text"),
]


def limits(metadata: tuple[Any, ...]) -> dict[str, Any]:
    """Constraints of an annotated type by name."""
    found: dict[str, Any] = {}
    for item in metadata:
        for part in [*getattr(item, "metadata", []), item]:
            for name in ("ge", "le", "min_length", "max_length", "pattern"):
                value = getattr(part, name, None)
                if value is not None:
                    found[name] = value
    return found


def form(kind: Any) -> str:
    """A member's type in words."""
    for named, text in NAMED:
        if kind == named:
            return text
    if get_origin(kind) is Literal:
        return ", ".join(f"`{value}`" for value in get_args(kind))
    if isinstance(kind, types.UnionType) or str(get_origin(kind)) == "typing.Union":
        (inner,) = (part for part in get_args(kind) if part is not type(None))
        return f"optional; {form(inner)}"
    base, limit = kind.__origin__, limits(kind.__metadata__)
    span = f"{limit.get('min_length', 0)} to {limit.get('max_length')}"
    if get_origin(base) is list:
        return f"{span} of: {form(get_args(base)[0])}"
    if get_origin(base) is dict:
        key, value = get_args(base)
        return f"map of {span}, {form(key)} to {form(value)}"
    if base is int:
        return f"integer, {limit['ge']} to {limit['le']}"
    if base is bytes:
        size = limit["min_length"]
        return f"{size} bytes" if size == limit["max_length"] else f"{span} bytes"
    return f"text, `{limit['pattern']}`"


def members(model: type[BaseModel]) -> dict[str, str]:
    """Members of a model with their forms."""
    return {name: form(model.__annotations__[name]) for name in model.model_fields}


@pytest.mark.parametrize("kind", list(st.STATEMENT_MODELS))
def test_the_members_of_each_kind_are_those_of_its_model(kind: Kind):
    listed = {row[0].strip("`"): row[1] for row in rows(section(STATEMENTS, f"`{kind}`"))[1:]}
    assert listed == members(st.STATEMENT_MODELS[kind])


INNER = {
    "A founder": Founder,
    "A reference value": ReferenceValue,
    "A landmark": Landmark,
    "A ranging row": RangingRow,
}


@pytest.mark.parametrize(("name", "model"), list(INNER.items()))
def test_the_members_of_inner_maps_are_those_of_their_models(name: str, model: type[BaseModel]):
    listed = {row[0].strip("`"): row[1] for row in rows(section(STATEMENTS, name))[1:]}
    assert listed == members(model)


def test_every_kind_has_a_row_and_a_section():
    kinds = [kind.value for kind in Kind if kind is not Kind.CONFLICT]
    assert first(section(STATEMENTS, "Kinds")) == kinds
    assert re.findall(r"^## `([\w-]+)`$", STATEMENTS, re.MULTILINE) == [
        kind for kind in kinds if kind != "heartbeat"
    ]


def test_every_reason_that_admission_gives_is_named_and_every_named_one_exists():
    given = {Reason[name] for name in re.findall(r"Reason\.([A-Z_]+)", inspect.getsource(judge))}
    named = set(re.findall(r"`([a-z]+(?:-[a-z]+)*)`", STATEMENTS))
    assert {reason.value for reason in given} <= named
    hyphenated = {name for name in named if "-" in name}
    assert hyphenated <= {reason.value for reason in Reason} | {kind.value for kind in Kind}


def test_the_sentence_of_each_kind_is_made_by_the_code():
    assert {kind for kind in Kind if kind is not Kind.CONFLICT} == set(words._SENTENCES)


# -- profile ---------------------------------------------------------------------------------

PRIVATE = {
    heartbeat.COUNTER: "counter",
    heartbeat.PREVIOUS: "previous",
    heartbeat.DIRECTIVE_SEEN: "directive_seen",
    heartbeat.LEASE_ID: "lease",
}


def test_the_claims_are_those_of_the_code():
    table = rows(section(PROFILE, "Claims"))[1:]
    required = {int(row[0]): row[1].strip("`") for row in table if row[2] == "required"}
    optional = {int(row[0]): row[1].strip("`") for row in table if row[2] == "optional"}
    assert required == heartbeat._REQUIRED
    assert optional == heartbeat._OPTIONAL
    assert {key for key in required | optional if key < -65536} == set(PRIVATE)


def test_the_claims_of_plain_eat_have_the_forms_of_the_code():
    table = {row[0]: row[3] for row in rows(section(PROFILE, "Claims"))[1:]}
    for claim in eat.CLAIMS:
        assert table[str(claim.label)].startswith(claim.form), claim.name


def test_the_members_of_the_location_are_those_of_the_code():
    listed = {
        (int(row[0]), row[1].strip("`"), row[3]) for row in rows(section(PROFILE, "Location"))[1:]
    }
    assert listed == {(item.label, item.name, item.form) for item in eat.LOCATION_MEMBERS}
    needed = {row[0] for row in rows(section(PROFILE, "Location"))[1:] if row[2] == "required"}
    assert needed == {"1", "2", "4", "8"}


def test_limits_in_the_text_are_those_of_the_code():
    assert f"{heartbeat.MAX_HEARTBEAT_BYTES:,} bytes" in PROFILE
    assert heartbeat.PROFILE in PROFILE
    assert heartbeat.TYP in PROFILE
    assert f"{heartbeat.MAX_ACCURACY_M:,.0f} m" in PROFILE


CHECKLIST = [f"6.3.{number}" for number in range(1, 13)]


def test_every_point_of_the_checklist_is_answered():
    assert [row[0] for row in rows(section(PROFILE, "Checklist"))[1:]] == CHECKLIST
    assert all(len(row[2]) > 10 for row in rows(section(PROFILE, "Checklist"))[1:])


def example() -> bytes:
    """A chip's first heartbeat, from fixed seeds."""
    body = heartbeat.Heartbeat(
        iat=1_767_225_600,
        epoch=bytes(range(16)),
        ueid=b"\x01" + bytes(range(16)),
        oemid=99_999,
        model="XA-100",
        uptime=3_600,
        debug_status=3,
        location=heartbeat.Location(50.1109, 8.6821, 12.5, 1_767_225_600),
        boot_count=1,
        boot_seed=bytes(range(32)),
        measurement=heartbeat.Measurement("1.0", 3, sha256(b"firmware 1.0").digest()),
        counter=1,
        lease=bytes(range(16, 32)),
    )
    return st.sign(body, EXAMPLE_KEY)


EXAMPLE_KEY = Ed25519Signer.from_seed(bytes(range(32)))
NAMES = {claim.label: claim.name for claim in eat.CLAIMS} | PRIVATE
MEMBERS = {item.label: item.name for item in eat.LOCATION_MEMBERS}


def diagnostic(value: Any) -> str:
    """A value in CBOR diagnostic notation (RFC 8949, 8)."""
    if isinstance(value, bytes):
        return f"h'{value.hex()}'"
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, list):
        return "[" + ", ".join(map(diagnostic, value)) + "]"
    if isinstance(value, dict):
        pairs = (f"{diagnostic(key)}: {diagnostic(item)}" for key, item in value.items())
        return "{" + ", ".join(pairs) + "}"
    return repr(value)


def annotated(token: bytes) -> str:
    """A heartbeat token in diagnostic notation, with the names of claims as comments."""
    message = st.decode(token)
    header = cbor.decode(message.sign1.protected, max_size=200)
    lines = ["18([", f"  << {diagnostic(header)} >>,  / alg, kid, typ /", "  {},", "  << {"]
    for key, value in cbor.decode(message.sign1.payload, max_size=2_048).items():
        if key == heartbeat.LOCATION:
            lines.append(f"    {key}: {{  / {NAMES[key]} /")
            lines += [f"      {k}: {diagnostic(v)},  / {MEMBERS[k]} /" for k, v in value.items()]
            lines.append("    },")
        elif key == heartbeat.MEASUREMENTS:
            inner = cbor.decode(value[0][1], max_size=256)
            text = f"[[{value[0][0]}, << {diagnostic(inner)} >>]]"
            lines.append(f"    {key}: {text},  / {NAMES[key]} /")
        else:
            lines.append(f"    {key}: {diagnostic(value)},  / {NAMES[key]} /")
    lines += ["  } >>,", f"  {diagnostic(message.sign1.signature)}", "])"]
    return "\n".join(lines)


def test_the_example_is_the_heartbeat_of_its_seeds():
    text = section(PROFILE, "Example")
    assert f"```\n{annotated(example())}\n```" in text
    assert f"{len(example())} bytes" in text
    assert example().hex() in text.replace("\n", "")
    st.decode(example()).verify(EXAMPLE_KEY.public)
    assert EXAMPLE_KEY.public.raw.hex() in text


# -- rules -----------------------------------------------------------------------------------


def test_the_rules_are_those_of_the_policy():
    assert first(section(RULES, "Rules")) == list(get_args(RuleId))
    for rule in get_args(RuleId):
        assert re.search(rf"^### {rule}$", RULES, re.MULTILINE), rule


def default(name: str) -> str:
    """A policy member's default as the page writes it; a dash where there is none."""
    info = Policy.model_fields[name]
    if info.is_required():
        return "–"
    value = info.get_default(call_default_factory=True, validated_data={})
    return {"[]": "empty", "{}": "empty"}.get(str(value), str(value))


def test_the_parameters_are_those_of_the_policy_with_their_defaults():
    listed = {row[0].strip("`"): row[1] for row in rows(section(RULES, "Parameters"))[1:]}
    assert listed == {name: default(name) for name in Policy.model_fields if name != "iat"}


# -- states ----------------------------------------------------------------------------------


def test_the_table_of_states_is_that_of_the_code():
    heading, *table = rows(section(STATES, "Decisions"))
    assert [name.strip("`") for name in heading[1:]] == [action.value for action in Action]
    listed = {
        (row[0].strip("`"), action.value): cell.strip("`")
        for row in table
        for action, cell in zip(Action, row[1:], strict=True)
    }
    assert listed == {
        (state.value, action.value): getattr(state_after(state, action), "value", "–")
        for state in ChipState
        for action in Action
    }


def test_who_decides_is_said():
    listed = {row[0].strip("`"): row[1] for row in rows(section(STATES, "Who decides"))[1:]}
    assert listed == {action.value: may_decide(action).value for action in Action}


def test_every_state_and_flag_is_explained():
    flags = first(section(STATES, "Flags"))
    names = first(section(STATES, "States")) + list(dict.fromkeys(flags))
    assert names == [*(state.value for state in ChipState), "silent", "suspect"]


def test_the_roles_are_those_of_the_code():
    assert first(section(STATEMENTS, "Roles")) == [role.value for role in Role]


if __name__ == "__main__":
    for kind, model in st.STATEMENT_MODELS.items():
        print(f"\n## `{kind}`\n")
        for name, text in members(model).items():
            print(f"| `{name}` | {text} | |")
    for inner in INNER.values():
        for name, text in members(inner).items():
            print(f"| `{name}` | {text} | |")
    for name in Policy.model_fields:
        print(f"| `{name}` | {default(name)} | |")
    print(annotated(example()))
    print(len(example()), EXAMPLE_KEY.public.raw.hex())
