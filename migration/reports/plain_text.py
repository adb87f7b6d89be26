"""Says where the value of a credential stands and stood in clear, in the page's language. Reads no table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.utils.translation import gettext as _

if TYPE_CHECKING:
    from migration.models import KnownValue
    from migration.operations.certificate_facts import CredentialFact


def describe_places(value: KnownValue | CredentialFact) -> list[str]:
    """Return where the value is or was in clear, then that it is to be rotated if the tables lack it now."""
    found = []
    if value.stands_in_tables:
        found.append(_("stands in the credential tables"))
    elif value.stood_in_tables:
        found.append(_("stood in the credential tables"))
    if value.stood_in_copy:
        found.append(_("a copy was found elsewhere in NOVA's database"))
    if value.stood_in_legacy:
        found.append(_("was found in NOVA's legacy table"))
    if not found:
        return [_("never stood in plain text, as far as this site has seen")]
    if not value.stands_in_tables:
        found.append(_("to be rotated"))
    return found
