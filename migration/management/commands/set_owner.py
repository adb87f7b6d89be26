"""`set_owner`: says who looks after clients."""

from typing import ClassVar

from migration.management.acts import ActCommand


class Command(ActCommand):
    act_code = "set_owner"
    helps: ClassVar = {"owner": "the user who looks after them; - is nobody"}
    help = "Says who looks after clients. It gives nobody a right, and changes nothing else."
