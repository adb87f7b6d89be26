"""Everything that was written anywhere, and the markers that are looked for in it."""

import re
from collections import defaultdict
from dataclasses import dataclass, field

# Quotes and backslashes are escaped one way or another on the way out: what is looked for survives all of them.
NEEDLE = re.compile("MARKER-(ONE|TWO|THREE|FOUR)")


@dataclass
class Haystack:
    """Everything that was written anywhere, by where."""

    pieces: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def add(self, place: str, text: str) -> None:
        self.pieces[place].append(text)

    def found(self) -> list[str]:
        return sorted(place for place in self.pieces if NEEDLE.search(self.text(place)))

    def text(self, place: str) -> str:
        return "\n".join(self.pieces[place])
