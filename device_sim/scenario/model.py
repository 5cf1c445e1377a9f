"""A scenario as frozen values. ``docs/scenarios.md`` lists every field with unit and limits.

Days are counted from the start of the calendar and may be fractions or, where it makes sense,
negative; so a scenario can be run from any date.
"""

from datetime import datetime
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from device_sim.scenario.incident import Incident
from ledger.protocol.fields import (
    Country,
    Latitude,
    LicenceId,
    Longitude,
    ModelName,
    PartyId,
    ShortText,
)


class Part(BaseModel):
    """Base of every part: strict, frozen, no unknown fields."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")


Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,39}$")]
Day = Annotated[float, Field(ge=0, le=3_650, allow_inf_nan=False)]


class Calendar(Part):
    """When the run begins and how its clock moves."""

    start: AwareDatetime
    days: Annotated[float, Field(gt=0, le=3_650)]
    step_min: Annotated[int, Field(ge=1, le=1_440)] = 120
    epoch_min: Annotated[int, Field(ge=1, le=1_440)] = 120


class HeartbeatPlan(Part):
    """How chips report."""

    every_min: Annotated[int, Field(ge=1, le=10_080)] = 240
    jitter_min: Annotated[int, Field(ge=0, le=1_440)] = 30
    accuracy_m: Annotated[float, Field(ge=1, le=100_000)] = 10.0
    scatter_m: Annotated[float, Field(ge=0, le=10_000)] = 4.0
    loss: Annotated[float, Field(ge=0, le=0.5)] = 0.0


class Firmware(Part):
    """One firmware of a model; its digest is derived from model, version and svn."""

    version: Annotated[str, Field(min_length=1, max_length=64)]
    svn: Annotated[int, Field(ge=0, le=1_000_000)]


class ChipModel(Part):
    """A model of accelerator; the first firmware is what chips run unless a cohort says else."""

    name: ModelName
    processing_performance: Annotated[int, Field(ge=1, le=100_000_000)]
    firmware: Annotated[tuple[Firmware, ...], Field(min_length=1, max_length=16)]


class PartyPart(Part):
    """What every registered party has."""

    id: PartyId
    name: ShortText
    country: Country


class Officer(Part):
    """Signs releases; named in the genesis entry."""

    id: PartyId
    name: ShortText


class Manufacturer(PartyPart):
    """Makes chips; ``oemid`` is its Private Enterprise Number."""

    oemid: Annotated[int, Field(ge=1, le=2**31)]


class Custodian(PartyPart):
    """Holds chips; a carrier holds them for others, on the way."""

    roles: Annotated[tuple[Literal["custodian", "carrier"], ...], Field(min_length=1)] = (
        "custodian",
    )
    parent: PartyId | None = None


class Site(Part):
    """A data centre at its real coordinates."""

    id: Name
    town: ShortText
    country: Country
    latitude: Latitude
    longitude: Longitude


class LicencePart(Part):
    """What a holder may have, where and when."""

    id: LicenceId
    holder: PartyId
    countries: Annotated[tuple[Country, ...], Field(min_length=1, max_length=250)]
    models: Annotated[tuple[ModelName, ...], Field(min_length=1, max_length=64)]
    from_day: Annotated[float, Field(ge=-3_650, le=3_650)] = -30.0
    until_day: Annotated[float, Field(ge=-3_650, le=7_300)] = 1_095.0
    quota_per_year: Annotated[int, Field(ge=1, le=100_000_000)] | None = None
    assurance: Literal["claim", "cleared", "inside"] = "claim"


class Leg(Part):
    """A stop between manufacturer and custodian: a carrier, or a reseller with its licence."""

    party: PartyId
    days: Day = 1.0
    licence: LicenceId | None = None


class Route(Part):
    """How chips come from the manufacturer to the rack, and how long each part takes."""

    id: Name
    manufacturer: PartyId
    via: tuple[Leg, ...] = ()
    custodian: PartyId
    days: Day = 2.0
    site: Name | None = None
    install_days: Day = 1.0

    @property
    def lead_days(self) -> float:
        """Days from birth to the last receipt."""
        return sum(leg.days for leg in self.via) + self.days


class Cohort(Part):
    """Chips of one model that go one way together."""

    id: Name
    count: Annotated[int, Field(ge=1, le=100_000)]
    model: ModelName
    route: Name
    licence: LicenceId
    firmware: str | None = None
    born_day: Day = 0.0
    incident: tuple[Incident, ...] = ()


class Authority(Part):
    """The licence office."""

    id: PartyId = "authority"
    name: ShortText = "Export licence office"


class Scenario(Part):
    """A whole scenario, checked: every reference in it leads somewhere."""

    name: Name
    description: Annotated[str, Field(min_length=1, max_length=2_000)]
    seed: Annotated[int, Field(ge=0, le=2**63 - 1)]
    authority_seed: Annotated[str, Field(min_length=1, max_length=200)] = "chip-passport simulation"
    origin: Annotated[str, Field(pattern=r"^[\x21-\x2a\x2c-\x7e]{1,200}$")] | None = None
    calendar: Calendar
    heartbeat: HeartbeatPlan = HeartbeatPlan()
    authority: Authority = Authority()
    policy: dict[str, Any] = {}
    officer: Annotated[tuple[Officer, ...], Field(min_length=1, max_length=32)]
    model: Annotated[tuple[ChipModel, ...], Field(min_length=1)]
    manufacturer: Annotated[tuple[Manufacturer, ...], Field(min_length=1)]
    custodian: Annotated[tuple[Custodian, ...], Field(min_length=1)]
    site: Annotated[tuple[Site, ...], Field(min_length=1)]
    licence: Annotated[tuple[LicencePart, ...], Field(min_length=1)]
    route: Annotated[tuple[Route, ...], Field(min_length=1)]
    cohort: Annotated[tuple[Cohort, ...], Field(min_length=1)]

    @property
    def start(self) -> datetime:
        """The calendar's first moment."""
        return self.calendar.start

    @property
    def chips(self) -> int:
        """How many chips the cohorts have together."""
        return sum(cohort.count for cohort in self.cohort)

    @cached_property
    def models(self) -> dict[str, ChipModel]:
        """Models by name."""
        return {item.name: item for item in self.model}

    @cached_property
    def custodians(self) -> dict[str, Custodian]:
        """Custodians and carriers by id."""
        return {item.id: item for item in self.custodian}

    @cached_property
    def manufacturers(self) -> dict[str, Manufacturer]:
        """Manufacturers by id."""
        return {item.id: item for item in self.manufacturer}

    @cached_property
    def sites(self) -> dict[str, Site]:
        """Sites by id."""
        return {item.id: item for item in self.site}

    @cached_property
    def licences(self) -> dict[str, LicencePart]:
        """Licences by id."""
        return {item.id: item for item in self.licence}

    @cached_property
    def routes(self) -> dict[str, Route]:
        """Routes by id."""
        return {item.id: item for item in self.route}

    def arrival_day(self, cohort: Cohort) -> float:
        """Day on which a cohort's chips reach their custodian."""
        return cohort.born_day + self.routes[cohort.route].lead_days

    def service_day(self, cohort: Cohort) -> float:
        """Day on which they go into service; where the route ends in a warehouse, the arrival."""
        route = self.routes[cohort.route]
        return self.arrival_day(cohort) + (route.install_days if route.site else 0.0)
