"""`acknowledge_mismatches`: has what is known to differ need no attention until a day."""

from typing import ClassVar

from migration.management.acts import ActCommand


class Command(ActCommand):
    act_code = "acknowledge"
    helps: ClassVar = {"until": "until this day, as 2026-11-26"}
    help = (
        "Acknowledges what the newest comparison of clients found: until a day it needs no attention. Gates stay shut,"
        " and other differences that a later comparison finds are not covered."
    )
