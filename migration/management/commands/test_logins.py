"""`test_logins`: logs in for real with the values of PostgreSQL, of AWS, or of both."""

from typing import ClassVar

from migration.management.acts import ActCommand


class Command(ActCommand):
    act_code = "test_logins"
    begins_unasked = True
    helps: ClassVar = {"stores": "whose values log in (both)"}
    help = "Logs in to databases, mailboxes and AWS with the stored values; prints outcomes only, never a value."
