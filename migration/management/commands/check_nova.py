"""`check_nova`: `doctor` without what is asked of AWS."""

from __future__ import annotations

from migration.core.problems import Area
from migration.management.commands.doctor import Command as Doctor


class Command(Doctor):
    help = "Looks for problems as doctor does, but for those with AWS."
    left_out = (Area.AWS,)
