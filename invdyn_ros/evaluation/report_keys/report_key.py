"""Description of a key of a report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

QUANTILES = {
    "p10": "10th percentile",
    "p50": "median",
    "p90": "90th percentile",
    "p95": "95th percentile",
    "p99": "99th percentile",
    "max": "largest value",
}


class ReportKey(NamedTuple):
    """Meaning of a key of a report.

    Attributes:
        description: what its value is.
        unit: of the value; "action unit" is that of the report; empty: none.
        optional: whether some reports do not have the key.
    """

    description: str
    unit: str = ""
    optional: bool = False


Keys = Mapping[str, ReportKey]
"""Path of a key -> its meaning.

The names of a path are joined by dots; `*` stands for any name, and `[]` for the items of a list.
"""


def below(prefix: str, keys: Keys, *, optional: bool | None = None) -> dict[str, ReportKey]:
    """Return keys with a prefix before their paths.

    Args:
        prefix: path of the mapping that has the keys.
        keys: the keys.
        optional: whether some reports lack them; None: as they say.
    """
    return {
        f"{prefix}.{path}": key if optional is None else key._replace(optional=optional)
        for path, key in keys.items()
    }


def quantile_keys(
    path: str, key: ReportKey, names: tuple[str, ...] = ("p50", "p95")
) -> dict[str, ReportKey]:
    """Return the keys of a mapping of quantiles.

    Args:
        path: of the mapping.
        key: meaning of its values.
        names: the quantiles, keys of QUANTILES.
    """
    return {path: key} | {
        f"{path}.{name}": key._replace(description=QUANTILES[name]) for name in names
    }
