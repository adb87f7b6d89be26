"""Makes a chip of each filter in an address: what it is called, its value in words, and the address without it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlencode

if TYPE_CHECKING:
    from collections.abc import Mapping

    from django_stubs_ext import StrOrPromise


@dataclass(frozen=True)
class Chip:
    """A filter in use, and the address without it."""

    title: str
    value: str
    remove_url: str


def list_chips(
    filters: Mapping[str, str],
    titles: Mapping[str, StrOrPromise],
    values: Mapping[tuple[str, str], StrOrPromise],
) -> list[Chip]:
    """Return a chip for each filter; `values` has the words for (filter, value), where there are better ones."""
    return [
        Chip(
            str(titles[name]),
            str(values.get((name, value), value)),
            "?" + urlencode({other: each for other, each in filters.items() if other != name}),
        )
        for name, value in filters.items()
    ]
