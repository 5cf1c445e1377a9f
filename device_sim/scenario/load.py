"""TOML text in, ``Scenario`` or ``ScenarioError`` out."""

import difflib
import re
import tomllib
from collections.abc import Mapping
from importlib import resources
from pathlib import Path as FilePath
from typing import Any

from pydantic import BaseModel, ValidationError

from device_sim.scenario.checks import check
from device_sim.scenario.faults import Fault, ScenarioError
from device_sim.scenario.lines import Path, line_index, line_of
from device_sim.scenario.model import Scenario
from device_sim.scenario.words import explain, real_faults

MAX_BYTES = 1_000_000
_PLACE = re.compile(r"\(at (?:line (\d+), column \d+|end of document)\)")
_LIMITS = "Change the value; docs/scenarios.md gives its limits"


def load(path: str | FilePath) -> Scenario:
    """The scenario in a file; ``ScenarioError`` if it cannot be read or run."""
    source = str(path)
    try:
        data = FilePath(path).read_bytes()
    except OSError as error:
        reason = error.strerror or "cannot be read"
        remedy = f"Name a file, or one of {', '.join(scenario_names())}"
        raise ScenarioError(source, [Fault(0, "", reason, remedy + ".")]) from error
    if len(data) > MAX_BYTES:
        fault = Fault(0, "", f"{len(data)} bytes are too many", f"Keep it under {MAX_BYTES}.")
        raise ScenarioError(source, [fault])
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        fault = Fault(line, "", "the bytes are not UTF-8", "Save the file as UTF-8.")
        raise ScenarioError(source, [fault]) from error
    return parse(text, source)


def load_packaged(name: str) -> Scenario:
    """One of the scenarios that come with the simulator."""
    if name not in scenario_names():
        remedy = f"Choose one of {', '.join(scenario_names())}."
        raise ScenarioError(name, [Fault(0, "", "no such scenario", remedy)])
    text = (_folder() / f"{name}.toml").read_text(encoding="utf-8")
    return parse(text, f"{name}.toml")


def scenario_names() -> list[str]:
    """Names of the packaged scenarios, in order of the alphabet."""
    files = [item.name for item in _folder().iterdir()]
    return sorted(name.removesuffix(".toml") for name in files if name.endswith(".toml"))


def validate(path: str | FilePath) -> list[Fault]:
    """Every fault of a file, none if it can be run."""
    try:
        load(path)
    except ScenarioError as error:
        return list(error.faults)
    return []


def parse(text: str, source: str = "scenario") -> Scenario:
    """The scenario in a text. Steps: TOML, types and ranges, references and sense."""
    try:
        value = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ScenarioError(source, [_syntax(text, str(error))]) from error
    except RecursionError as error:
        fault = Fault(0, "", "the file is nested too deeply", "Flatten it.")
        raise ScenarioError(source, [fault]) from error
    index = line_index(text.replace("\r\n", "\n"))
    try:
        scenario = Scenario.model_validate(_frozen(value))
    except ValidationError as error:
        found = real_faults(map(dict, error.errors(include_url=False)))
        faults = [_type_fault(item, index) for item in found]
        raise ScenarioError(source, faults) from error
    faults = [
        Fault(line_of(index, path), field_name(path), problem, remedy)
        for path, problem, remedy in check(scenario)
    ]
    if faults:
        raise ScenarioError(source, faults)
    return scenario


def field_name(path: Path) -> str:
    """``cohort[2].incident[0].day``, counting from 1 as people do."""
    out = ""
    for part in path:
        if isinstance(part, int):
            out += f"[{part + 1}]"
        else:
            out += f".{part}" if out else part
    return out


def _folder() -> Any:
    return resources.files("device_sim") / "scenarios"


def _frozen(value: Any) -> Any:
    """Arrays as tuples: the models are strict and immutable."""
    if isinstance(value, list):
        return tuple(_frozen(item) for item in value)
    if isinstance(value, dict):
        return {key: _frozen(item) for key, item in value.items()}
    return value


def _syntax(text: str, message: str) -> Fault:
    place = _PLACE.search(message)
    line = int(place[1]) if place and place[1] else text.count("\n") + 1
    problem = _PLACE.sub("", message).strip()
    return Fault(line, "", f"not TOML: {problem}", "See https://toml.io for the syntax.")


def _type_fault(error: Mapping[str, Any], index: dict[Path, int]) -> Fault:
    """One of pydantic's faults in our words, at its line."""
    path: Path = tuple(error["loc"])
    if error["type"] == "missing":
        problem, remedy = "missing", f"Add {path[-1]} to {field_name(path[:-1]) or 'the file'}"
    elif error["type"] == "extra_forbidden":
        problem, remedy = "unknown field", _near(str(path[-1]), path[:-1])
    else:
        problem, remedy = explain(error, _LIMITS)
    return Fault(line_of(index, path), field_name(path), problem, remedy + ".")


def _near(name: str, parents: Path) -> str:
    known = _fields(parents)
    close = difflib.get_close_matches(name, known, n=1)
    if close:
        return f"Did you mean {close[0]}? Otherwise take it out"
    return f"Take it out; known are {', '.join(known)}"


def _fields(parents: Path) -> list[str]:
    """Field names of the model at ``parents``."""
    model: type[BaseModel] = Scenario
    for part in parents:
        if isinstance(part, int):
            continue
        field = model.model_fields.get(part)
        inner = None if field is None else _model_in(field.annotation)
        if inner is None:
            return []
        model = inner
    return list(model.model_fields)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for part in getattr(annotation, "__args__", ()):
        found = _model_in(part)
        if found is not None:
            return found
    return None
