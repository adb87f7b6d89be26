"""Counts comparisons by day and result for a month, as a chart and a table."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

from django.utils import timezone
from django.utils.translation import gettext as _

from migration.core.comparisons import Comparison, DailyComparisons

DAYS = 30

# The statuses that one row of bars counts together, by its key.
GROUPS: dict[str, tuple[str, ...]] = {
    "match": (Comparison.Status.MATCH,),
    "mismatch": Comparison.DIFFERS,
    "unchecked": (Comparison.Status.UNCHECKED,),
}


@dataclass(frozen=True)
class Bar:
    """One day of a row of bars."""

    day: date
    number: int
    height: float  # percent of the highest of its row
    x: int


@dataclass(frozen=True)
class Series:
    """One row of bars: the comparisons with one result."""

    key: str
    title: str
    bars: list[Bar]

    @property
    def total_number(self) -> int:
        """Return how many comparisons with this result all days have together."""
        return sum(bar.number for bar in self.bars)

    @property
    def highest_number(self) -> int:
        """Return the number of the highest bar."""
        return max(bar.number for bar in self.bars)


@dataclass(frozen=True)
class ComparisonChart:
    """The chart of each day's comparisons: a row of bars for each result, and the same numbers as a table."""

    series: list[Series]

    @property
    def total_number(self) -> int:
        """Return the number of all days and results."""
        return sum(series.total_number for series in self.series)

    @property
    def table_rows(self) -> list[tuple[date, list[int]]]:
        """Return each day with its number of each result, the newest day first."""
        bars = zip(*(series.bars for series in self.series), strict=True)
        return [(row[0].day, [bar.number for bar in row]) for row in bars][::-1]


def load_comparison_chart() -> ComparisonChart:
    """Load the chart, in one query over at most five rows a day."""
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
    return ComparisonChart(
        [
            _make_series(
                key,
                titles[key],
                {day: sum(counted.get((day, status), 0) for status in statuses) for day in days},
            )
            for key, statuses in GROUPS.items()
        ]
    )


def _make_series(key: str, title: str, numbers: dict[date, int]) -> Series:
    most = max(numbers.values())
    return Series(
        key,
        title,
        [
            # A bar of a small number stays visible beside one of thousands.
            Bar(day, number, max(100 * number / most, 4) if number else 0, position * 10)
            for position, (day, number) in enumerate(numbers.items())
        ],
    )
