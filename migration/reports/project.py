"""Says how far the project is: how many clients are cut over, how many were left day by day, and about when none is."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from math import ceil

from django.utils import timezone

from migration.clients.models import CUTOVER_DAYS

# The pace is that of this time, or since its first cutover …
PACE_DAYS = 14
# … and is none where clients were cut over on fewer days of it.
LEAST_DAYS_WITH_CUTOVERS = 3
# A forecast beyond it says nothing.
MOST_DAYS_AHEAD = 365


@dataclass(frozen=True)
class DayLeft:
    """How many clients were still to be cut over at the end of a day."""

    day: date
    left: int
    height: float  # percent of the highest
    x: int


@dataclass(frozen=True)
class ProjectNumbers:
    """The progress of the project's cutovers: clients cut over, their pace, about when the last one is."""

    clients: int
    cut_over: int
    days: list[DayLeft]  # none where nobody was cut over in this time
    cut_over_in_pace_days: int
    # About when the last client is cut over, at the pace of the last days; None where these don't tell.
    ends_on: date | None

    @property
    def left(self) -> int:
        return self.clients - self.cut_over

    @property
    def percent(self) -> float:
        """Return the share that is cut over, rounded down: 100 only where all are."""
        return 1000 * self.cut_over // self.clients / 10 if self.clients else 0

    @property
    def forecast_days_left(self) -> int | None:
        return (self.ends_on - timezone.localdate()).days if self.ends_on else None


def make_project_numbers(clients: int, cut_over: int, moved: dict[date, int]) -> ProjectNumbers:
    """Compute the numbers from today's counts and `moved`: the cutovers by day, less those rolled back."""
    today = timezone.localdate()
    days = [today - timedelta(days=ago) for ago in reversed(range(CUTOVER_DAYS))]
    left, after = dict[date, int](), clients - cut_over
    for day in reversed(days):
        left[day] = after
        after += moved.get(day, 0)
    most = max(left.values(), default=0)
    return ProjectNumbers(
        clients=clients,
        cut_over=cut_over,
        days=[
            DayLeft(day, left[day], 100 * left[day] / most, position * 10)
            for position, day in enumerate(days)
        ]
        if moved and most > 0
        else [],
        cut_over_in_pace_days=sum(
            number for day, number in moved.items() if day > today - timedelta(days=PACE_DAYS)
        ),
        ends_on=_forecast_end(clients - cut_over, moved, today),
    )


def _forecast_end(left: int, moved: dict[date, int], today: date) -> date | None:
    """Return about when nobody is left; None where too few days had cutovers to speak of a pace."""
    lately = {d: n for d, n in moved.items() if d > today - timedelta(days=PACE_DAYS) and n > 0}
    number = sum(n for d, n in moved.items() if d > today - timedelta(days=PACE_DAYS))
    if left <= 0 or number <= 0 or len(lately) < LEAST_DAYS_WITH_CUTOVERS:
        return None
    per_day = number / ((today - min(lately)).days + 1)
    ahead = ceil(left / per_day)
    return today + timedelta(days=ahead) if ahead <= MOST_DAYS_AHEAD else None
