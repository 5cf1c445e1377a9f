"""The policy: defaults, units, rule ids."""

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as h

from ledger.errors import Reason
from ledger.protocol import cbor
from ledger.protocol import statements as st
from ledger.protocol.policy import Policy, RuleId
from ledger.protocol.statements import Kind
from tests.protocol.examples import BODIES
from tests.protocol.refusals import refused

SPARSE = Policy.model_validate({"iat": 0, "version": 1, "title": "x"})


def test_the_defaults_hold_and_revoke_nothing():
    assert SPARSE.hold_after == {}
    assert SPARSE.silence_hold_after_h == 0
    assert (SPARSE.revoke_after_forks, SPARSE.revoke_after_held_d) == (0, 0)


def test_the_defaults_allow_no_enabled_debug_access():
    assert SPARSE.allowed_debug == [2, 3, 4]


def test_defaults_are_not_shared_between_policies():
    other = Policy.model_validate({"iat": 0, "version": 1, "title": "x"})
    assert other.allowed_debug is not SPARSE.allowed_debug


def test_a_made_policy_writes_every_member_and_decodes_to_itself():
    payload = st.encode_body(SPARSE)
    assert set(cbor.decode(payload, max_size=4_096)) == set(Policy.model_fields)
    assert st.decode_body(Kind.POLICY, payload) == SPARSE


@pytest.mark.parametrize("rule", get_args(RuleId))
def test_every_rule_may_hold(rule: str):
    body = cbor.encode(BODIES[Kind.POLICY] | {"hold_after": {rule: 1}})
    assert st.decode_body(Kind.POLICY, body).hold_after == {rule: 1}


@given(h.text(max_size=20).filter(lambda text: text not in get_args(RuleId)))
def test_no_other_rule_may(rule: str):
    with refused(Reason.FIELD_INVALID):
        st.decode_body(Kind.POLICY, cbor.encode(BODIES[Kind.POLICY] | {"hold_after": {rule: 1}}))
