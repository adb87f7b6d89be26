"""How comparisons came out, day by day for a month, ready to be drawn."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

from django.utils import timezone
from django.utils.translation import gettext as _

from migration.models import Comparison, DailyComparisons

DAYS = 30

Status = Comparison.Status
# The statuses that one row of bars counts together.
GROUPS: dict[str, tuple[str, ...]] = {
    "match": (Status.MATCH,),
    "mismatch": Comparison.DIFFERS,
    "unchecked": (Status.UNCHECKED,),
}


@dataclass(frozen=True)
class Bar:
    day: date
    number: int
    height: float  # percent of the highest of its row
    x: int


@dataclass(frozen=True)
class Series:
    key: str
    title: str
    bars: list[Bar]

    @property
    def total(self) -> int:
        return sum(bar.number for bar in self.bars)

    @property
    def most(self) -> int:
        return max(bar.number for bar in self.bars)


@dataclass(frozen=True)
class History:
    series: list[Series]

    @property
    def total(self) -> int:
        return sum(series.total for series in self.series)

    @property
    def days(self) -> list[tuple[date, list[int]]]:
        """The same as a table, the newest day first."""
        bars = zip(*(series.bars for series in self.series), strict=True)
        return [(row[0].day, [bar.number for bar in row]) for row in bars][::-1]


def history() -> History:
    """One query over at most five rows a day."""
    today = timezone.localdate()
    days = [today - timedelta(days=ago) for ago in reversed(range(DAYS))]
    stored = DailyComparisons.objects.filter(day__gte=days[0])
    counted = {
        (day, status): number
        for day, status, number in stored.values_list("day", "status", "number")
    }
    titles = {
        "match": _("Matches"),
        "mismatch": _("Mismatches"),
        "unchecked": _("Could not check"),
    }
    return History(
        [
            _series(
                key,
                titles[key],
                {day: sum(counted.get((day, status), 0) for status in statuses) for day in days},
            )
            for key, statuses in GROUPS.items()
        ]
    )


def _series(key: str, title: str, numbers: dict[date, int]) -> Series:
    most = max(numbers.values())
    return Series(
        key,
        title,
        [
            # A day with any shows something, be it one of thousands.
            Bar(day, number, max(100 * number / most, 4) if number else 0, position * 10)
            for position, (day, number) in enumerate(numbers.items())
        ],
    )
