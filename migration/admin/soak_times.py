"""The field for a soak time as people say it: "72 s", "30 min", "24 h". It is kept in whole minutes, rounded up."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from math import ceil

from django import forms
from django.conf import settings
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

# Of each unit, by its first letter; its names are those of English and Spanish.
SECONDS = {"s": 1, "m": 60, "h": 3600}
NUMBER_AND_UNIT = re.compile(
    r"([0-9]{1,9}(?:[.,][0-9]{1,4})?)\s*"
    r"(s|secs?|seconds?|segs?|segundos?|m|mins?|minutes?|minutos?|h|hours?|horas?)\.?",
    re.IGNORECASE,
)
USUAL_HOURS = 24


@dataclass(frozen=True)
class TypedSoakTime:
    """A soak time exactly as it was typed, in seconds. What is kept is `minutes`, rounded up."""

    seconds: Decimal

    @property
    def minutes(self) -> int:
        """Return the soak time in whole minutes, rounded up."""
        return ceil(self.seconds / 60)

    @property
    def is_rounded(self) -> bool:
        return self.minutes * 60 != self.seconds


class SoakTimeField(forms.CharField):
    """Takes a number and its unit, which 0 needn't have; gives a `TypedSoakTime`."""

    def clean(self, value: object) -> TypedSoakTime:
        text = super().clean(value)
        found = NUMBER_AND_UNIT.fullmatch("0 s" if text == "0" else text)
        if found is None:
            raise ValidationError(_("Type a number and its unit, as 30 min or 24 h; 0 for none."))
        number, unit = found.groups()
        return TypedSoakTime(Decimal(number.replace(",", ".")) * SECONDS[unit[0].lower()])


def suggest_soak_time() -> str:
    """Return the time that the gate to AWS wants at least, or a day where it wants none, as the field takes it."""
    hours = Decimal(str(settings.NOVA_DUAL_READ_HOURS)) or Decimal(USUAL_HOURS)
    if hours == round(hours, 1) and hours >= 1:
        return f"{hours.normalize():f} h"
    return f"{ceil(hours * 60)} min"
