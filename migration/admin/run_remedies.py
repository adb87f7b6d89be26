"""Names what mends a failed item of a run, as links for those who may follow them. Looking again is none of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.urls import reverse
from django.utils.translation import gettext as _

from migration import login_sentences, sentences
from migration.admin.base import RUN_PERMISSION
from migration.models.comparisons import Comparison
from migration.models.run_items import TRANSIENT, Act, Outcome
from nova_credentials.aws.secrets_manager import ErrorClass

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.contrib.auth.models import AbstractBaseUser, AnonymousUser

    from migration.models.run_items import RunItem

VIEW_CLIENT = "credentials.view_client"
CHANGE_CLIENT = "credentials.change_client"
VIEW_TABLES = "credentials.view_columnmapping"
# Its failure passes by itself, although its class is one of those that don't.
PASSES_BY_ITSELF = (
    *(sentences.PUSH_TAKES_TOO_LONG.key, sentences.NOVA_WROTE.key),
    login_sentences.LOGINS_NOT_REACHED.key,
)


@dataclass(frozen=True)
class Remedy:
    """A link to where the client can be mended."""

    label: str
    url: str


def can_succeed(item: RunItem) -> bool:
    """Say whether the item can succeed if it is tried again as it is.

    A gate opens with time, and an error of AWS's passes. Rows have to be mended first: `is_mended`, which the query of
    the items annotates, says whether they were written since.
    """
    if item.outcome == Outcome.REFUSED:
        return True
    if item.outcome != Outcome.FAILED:
        return False
    passes = item.error_class in TRANSIENT or item.error_class == ErrorClass.SCHEMA
    key = item.message.key if item.message else ""
    return passes or key in PASSES_BY_ITSELF or bool(getattr(item, "is_mended", False))


def list_remedies(item: RunItem, user: AbstractBaseUser | AnonymousUser) -> list[Remedy]:
    """Return the links that help with the item and that this user may follow; none of an item that went well."""
    return list(_find_remedies(item, user))


def _find_remedies(item: RunItem, user: AbstractBaseUser | AnonymousUser) -> Iterator[Remedy]:
    may = user.has_perm  # type: ignore[union-attr]  # both have it
    page = reverse("admin:credentials_client_change", args=[item.client_id])
    failed = item.outcome in (Outcome.FAILED, Outcome.REFUSED)
    if failed and item.error_class == ErrorClass.SCHEMA and may(VIEW_TABLES):
        tables = reverse("admin:credentials_columnmapping_changelist")
        yield Remedy(_("See NOVA's tables"), tables)
    if not may(VIEW_CLIENT):
        return
    keys = item.message.codes if item.message else []
    if failed and item.act == Act.SECRET_SETTINGS and sentences.NOT_OURS.key not in keys:
        page = reverse("admin:migration_run_secret_settings")
        yield Remedy(_("See key and regions"), page)
    elif failed and item.error_class == ErrorClass.DATA:
        label = _("Mend its rows") if may(CHANGE_CLIENT) else _("See its rows")
        yield Remedy(label, f"{page}?tab=logins")
    elif failed and sentences.NOT_OURS.key in keys:
        adopt = reverse("admin:credentials_client_adopt", args=[item.client_id])
        may_adopt = may(RUN_PERMISSION)
        label = _("See whose secret it is, and adopt it") if may_adopt else _("See its checks")
        yield Remedy(label, adopt if may_adopt else f"{page}?tab=overview")
    elif item.outcome == Outcome.REFUSED:
        yield Remedy(_("See what its gate lacks"), f"{page}?tab=overview")
    elif (failed and item.error_class == ErrorClass.CONFLICT and not can_succeed(item)) or (
        item.comparison_status in Comparison.DIFFERS
    ):
        yield Remedy(_("See what differs"), f"{page}?tab=comparison")
