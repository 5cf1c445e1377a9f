"""Names of countries for people, by ISO 3166-1 alpha-2 code."""

import iso3166


def country_name(alpha2: str) -> str:
    """The ISO 3166 short name; the code itself where ISO (and XK, Kosovo) has no such entry."""
    country = iso3166.countries_by_alpha2.get(alpha2.upper())
    return country.name if country is not None else alpha2
