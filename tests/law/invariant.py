"""The law, and the book that is kept to judge it by. Knows neither store.

*After a save has been confirmed, every later read returns that value or a newer one.*
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

Numbers = dict[str, int]  # of each field that one save writes, the how-manieth save of it this is


class LawBroken(AssertionError):  # noqa: N818  # a verdict
    """A read returned something older than what was confirmed, or something that nobody saved."""


@dataclass(frozen=True)
class Confirmed:
    """One field's value that has to stand from this time on."""

    field: str
    number: int
    at: float
    elsewhere: bool = False  # written in AWS itself by somebody else


class Ledger:
    """Every save of one client, in its order; which of them are confirmed, and which only might be there."""

    def __init__(self) -> None:
        self.texts: dict[str, list[str]] = defaultdict(list)
        self.confirmed: list[Confirmed] = []
        self.refused: set[tuple[str, int]] = set()
        # Plain SQL from the cutover on: (field, number, purged), confirmed once a push has landed.
        self.waiting: list[tuple[str, int, bool]] = []

    def begin(self, texts: dict[str, str]) -> Numbers:
        """Notes a save that is about to be made: from now on a read may return it."""
        for field, text in texts.items():
            self.texts[field].append(text)
        return {field: len(self.texts[field]) - 1 for field in texts}

    def confirm(self, numbers: Numbers, *, at: float, elsewhere: bool = False) -> None:
        for field, number in numbers.items():
            self.confirmed.append(Confirmed(field, number, at, elsewhere))

    def refuse(self, numbers: Numbers) -> None:
        """It was said that this save was saved nowhere."""
        self.refused.update(numbers.items())

    def wait(self, numbers: Numbers, *, purged: bool) -> None:
        self.waiting += [(field, number, purged) for field, number in numbers.items()]

    def landed(self, waited: list[tuple[str, int, bool]], *, at: float) -> None:
        """A push has landed: what waited for it when it began, and did not give way since, is confirmed."""
        for entry in [entry for entry in waited if entry in self.waiting]:
            field, number, _ = entry
            self.confirm({field: number}, at=at)
            self.waiting.remove(entry)

    def overruled_elsewhere(self) -> None:
        """Somebody decided against what was written in AWS directly."""
        self.confirmed = [entry for entry in self.confirmed if not entry.elsewhere]

    def taken_over(self) -> None:
        """What was written in AWS directly is in PostgreSQL now; what waited there gave way to it."""
        self.confirmed = [
            Confirmed(entry.field, entry.number, entry.at) for entry in self.confirmed
        ]
        self.waiting = []

    def floor(self, field: str, *, at: float) -> int:
        """The newest save of the field that was confirmed by then."""
        return max(
            (entry.number for entry in self.confirmed if entry.field == field and entry.at <= at),
            default=0,
        )

    def judge(self, field: str, text: str, *, since: float, where: str) -> None:
        """Raises `LawBroken` where this may not be what a read that began then returns."""
        saved = [number for number, known in enumerate(self.texts[field]) if known == text]
        if not saved:
            raise LawBroken(f"{where}: {field} is {text!r}, which nobody saved")
        floor = self.floor(field, at=since)
        if max(saved) < floor:
            raise LawBroken(f"{where}: {field} is save {max(saved)}, and {floor} was confirmed")
        if all((field, number) in self.refused for number in saved if number >= floor):
            raise LawBroken(f"{where}: {field} is a save that was refused")
