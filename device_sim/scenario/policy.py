"""The policy statement that a scenario asks for, and the firmware that it vouches for."""

from hashlib import sha256
from typing import Any

from device_sim.scenario.model import ChipModel, Firmware, Scenario
from ledger.protocol.policy import Policy, ReferenceValue

SET_BY_SIMULATOR = ("iat", "version", "reference_values")
"""Members of a policy that a scenario cannot give: they follow from the rest of it."""

_IMAGE_LABEL = "chip-passport simulated firmware"


def image_digest(model: str, firmware: Firmware) -> bytes:
    """SHA-256 that stands for a firmware image; there is no image."""
    return sha256(f"{_IMAGE_LABEL}/{model}/{firmware.version}/{firmware.svn}".encode()).digest()


def make_policy(scenario: Scenario, iat: int) -> Policy:
    """Version 1 of the policy; raises pydantic's ``ValidationError`` for unusable parameters."""
    fields: dict[str, Any] = {
        "title": f"Policy of scenario {scenario.name}",
        **{key: _listed(value) for key, value in scenario.policy.items()},
        "iat": iat,
        "version": 1,
        "reference_values": {model.name: _references(model) for model in scenario.model},
    }
    return Policy.model_validate(fields)


def _references(model: ChipModel) -> list[ReferenceValue]:
    return [
        ReferenceValue(
            version=firmware.version, svn=firmware.svn, digest=image_digest(model.name, firmware)
        )
        for firmware in model.firmware
    ]


def _listed(value: Any) -> Any:
    """Statement models take lists, scenarios hold tuples."""
    return list(value) if isinstance(value, tuple) else value
