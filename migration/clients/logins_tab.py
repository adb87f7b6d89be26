"""The tab of a client's logins, and the page that adds a client: a card and a form each, and whether AWS has them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.forms import BoundField
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.translation import gettext as _

from credentials.admin import find_errors
from credentials.forms import MASK, CredentialForm
from credentials.models import Credential
from credentials.pointers import is_purged
from migration.clients.status import has_push_pending
from migration.core.clients import PhaseChange, all_clients
from migration.core.pages import (
    RUN_PERMISSION,
    ClientRow,
    ClientView,
    get_act_url,
    list_visible_logins,
)
from migration.logins.models import (
    LOGIN_PERMISSION,
    ROTATE_PERMISSION,
    LoginStore,
    LoginStores,
    LoginTest,
)
from migration.logins.pages import link_new_test, link_typed_test
from migration.logins.reveal_pages import REVEAL_PERMISSION
from migration.logins.testing import LoginKey
from migration.pushes.models import CredentialKey, KnownValue
from nova_credentials.credential_types import CredentialType
from nova_credentials.phases import Phase
from nova_credentials.tables import is_push_pending

# How wide each field of a login's form is, in sixths of its card. Those that aren't named are hidden.
LOGIN_FORM: dict[CredentialType, dict[str, int]] = {
    CredentialType.DATABASE: {
        "connection": 6,
        "db_host": 4,
        "db_port": 2,
        "db_name": 2,
        "db_user": 2,
        "db_password": 2,
        "label": 4,
        "is_primary": 2,
    },
    CredentialType.EMAIL: {
        "connection": 6,
        "email_provider": 2,
        "email_user": 2,
        "email_password": 2,
        "imap_host": 4,
        "imap_port": 2,
        "smtp_host": 4,
        "smtp_port": 2,
        "sender_whitelist": 6,
        "label": 4,
        "is_primary": 2,
    },
    CredentialType.AWS: {
        "connection": 6,
        "access_key_id": 2,
        "secret_access_key": 2,
        "region": 2,
        "label": 4,
        "is_primary": 2,
    },
}
CLIENT_FORM = {"name": 3, "slug": 3, "description": 6, "is_active": 2}
# NOVA may write a row twice while it makes it: only a later write is a change.
AS_MADE = timedelta(seconds=1)
# Rows that were written so near to a restore were written by it.
RESTORING = timedelta(seconds=5)
# What says so at its label.
MAY_BE_EMPTY = ("connection", "label", "sender_whitelist", "description")
LOGIN_ICONS = {
    CredentialType.DATABASE: "database",
    CredentialType.EMAIL: "mail",
    CredentialType.AWS: "cloud",
}


def get_logins_context(
    request: HttpRequest, client: ClientRow | None, context: dict[str, Any]
) -> dict[str, object]:
    """Return the cards of the client's page, or of a page that adds one, around the forms of Django's context."""
    tests = _read_newest_tests(request, client) if client else {}
    restored_at = _find_restore(client) if client else None
    # A purge and a restore write every row, and change no login: when a secret changed before is known by its value.
    changes: dict[CredentialKey, datetime] = {}
    if client and (restored_at or client.phase == Phase.PURGED):
        changes = KnownValue.objects.find_last_changes(client.pk)
    general, fields = find_errors(context)
    focus = _Focus()
    form = context["adminform"].form
    may_change = client is None or context["adminform"].model_admin.has_change_permission(request)
    client_card = {
        "fields": list_fields(form, CLIENT_FORM, focus) if may_change else [],
        "hidden": form.hidden_fields() if may_change else [],
        "is_open": client is None or any(form.has_error(name) for name in CLIENT_FORM),
    }
    cards, sections = [], []
    for inline in context["inline_admin_formsets"]:
        formset = inline.formset
        asked_for = _find_asked_for([login.instance for login in formset.forms])
        for login in formset.forms:
            if login.instance.pk or inline.has_add_permission:
                card = _make_card(request, login, client, tests, focus, restored_at, changes)
                if card.get("rotate_url") and login.instance.pk not in asked_for:
                    card |= {"rotate_url": "", "needs_label_to_rotate": True}
                if not inline.has_change_permission:
                    card |= {"fields": [], "facts": _list_facts(login.instance)}
                cards.append(card)
        if inline.has_add_permission and inline.has_change_permission:
            empty = _make_card(request, formset.empty_form, client, {}, _Focus(is_given=True))
            sections.append({"prefix": formset.prefix, "empty": empty, "title": empty["title"]})
    stored = [card for card in cards if "store_to_test" in card]
    named = Counter((card["kind"], card["row"].short_name) for card in stored)
    for card in stored:
        # As messages tell those of the same name apart.
        is_alike = named[card["kind"], card["row"].short_name] > 1
        card["number"] = card["row"].pk if is_alike else None
    return {
        "client_card": client_card,
        "login_cards": cards,
        "test_all_store": stored[0]["store_to_test"] if len(stored) > 1 else "",
        "login_sections": sections,
        "management_forms": [
            inline.formset.management_form for inline in context["inline_admin_formsets"]
        ],
        # Of logins that only AWS has.
        "tests_without_row": [test for test in tests.values() if test.credential_id is None],
        "general_errors": general,
        "has_errors": bool(general or fields),
        "may_save": may_change or any(card["fields"] for card in cards),
        "may_test_logins": request.user.has_perm(LOGIN_PERMISSION),
        "saves_to": _describe_save(client),
    }


def _describe_save(client: ClientRow | None) -> str:
    phase = Phase(client.phase) if client else Phase.POSTGRES
    if phase == Phase.PURGED:
        return _("Save writes to AWS.")
    if phase == Phase.POSTGRES:
        return _("Save writes to PostgreSQL.")
    return _("Save writes to both stores.")


class _Focus:
    """The first field with an error has the focus when the page opens."""

    def __init__(self, *, is_given: bool = False) -> None:
        self.is_given = is_given


def list_fields(
    form: Any, widths: dict[str, int], focus: _Focus
) -> list[tuple[BoundField, int, bool]]:
    """Return the form's fields in their order, each with its width and whether it may be left empty."""
    found = []
    for name, width in widths.items():
        if name not in form.fields:
            continue
        field = form[name]
        texts = ("helptext", "error") if field.help_text else ("error",)
        attrs = field.field.widget.attrs
        attrs["aria-describedby"] = " ".join(f"{field.auto_id}_{text}" for text in texts)
        if not focus.is_given and form.is_bound and field.errors:
            attrs["autofocus"] = focus.is_given = True
        found.append((field, width, name in MAY_BE_EMPTY))
    return found


def _make_card(
    request: HttpRequest,
    form: CredentialForm,
    client: ClientRow | None,
    tests: dict[tuple[LoginKey, str], LoginTest],
    focus: _Focus,
    restored_at: datetime | None = None,
    changes: Mapping[CredentialKey, datetime] | None = None,
) -> dict[str, Any]:
    """Return what the card of one login shows: its row as it is stored, its tests, and its form."""
    row, user = form.instance, request.user
    kind = row.TYPE
    titles = {
        CredentialType.DATABASE: _("Database"),
        CredentialType.EMAIL: _("Mail"),
        CredentialType.AWS: _("AWS"),
    }
    card: dict[str, Any] = {
        "kind": kind.value,
        "icon": LOGIN_ICONS[kind],
        "title": titles[kind],
        "form": form,
        "fields": list_fields(form, LOGIN_FORM[kind], focus),
        "hidden": form.hidden_fields(),
        "secrets": [form.add_prefix(name) for name in row.SECRET_FIELDS],
        "id": f"login-{form.prefix}",
    }
    if not row.pk:
        return card | {
            "is_new": True,
            "is_open": True,
            "test_url": link_new_test(request, form, client),
        }
    key, (secret,) = LoginKey(kind, row.pk), row.SECRET_FIELDS
    address = [row.client_id, kind.value, row.pk]
    tested = [test for store in LoginStore if (test := tests.get((key, store)))]
    found = [test for test in tested if not _is_of_former_values(test, client, row)]
    stored, changed_at = form.initial, _find_change(row)
    is_restored = bool(changed_at and restored_at and abs(changed_at - restored_at) < RESTORING)
    return card | {
        "row": row,
        "is_open": form.is_bound and bool(form.errors),
        "name": row.describe_host_or_address(),
        "label": stored.get("label") or "",
        "is_primary": stored.get("is_primary"),
        "place": _describe_place(kind, stored),
        "user": stored.get(
            {"database": "db_user", "email": "email_user"}.get(kind, "access_key_id")
        ),
        "tests": found,
        "is_tested_alike": len({test.outcome for test in found}) == 1,
        "changed_since_test": len(found) < len(tested),
        "is_restored": is_restored,
        "changed_at": changed_at
        if changed_at and not is_restored
        else (changes or {}).get((kind.value, row.pk)),
        "stores": _describe_stores(client, row),
        "store_to_test": LoginStores.BOTH
        if client and client.pushed_revision
        else LoginStores.POSTGRES,
        "reveal_url": user.has_perm(REVEAL_PERMISSION)
        and reverse("admin:credentials_client_reveal", args=[*address, secret]),
        "rotate_url": user.has_perm(ROTATE_PERMISSION)
        and reverse("admin:credentials_client_rotate", args=address),
        "test_url": link_typed_test(request, row),
    }


def _find_asked_for(rows: Sequence[Credential]) -> set[int]:
    """Return those of a type's rows that NOVA can ask for: the primary one, and the first of each label."""
    found: dict[str | None, int] = {}
    for row in sorted(rows, key=lambda each: each.is_primary is not True):
        if row.is_primary:
            found.setdefault(None, row.pk)
        if row.label is not None:
            found.setdefault(row.label, row.pk)
    return set(found.values())


def _is_of_former_values(test: LoginTest, client: ClientRow | None, row: Credential) -> bool:
    """Say whether the row was written after the test, so that what it tried may stand nowhere any more."""
    changed_at = _find_change(row)
    if changed_at is None or changed_at <= test.tested_at:
        return False
    return test.store == LoginStore.POSTGRES or client is None or not _is_behind_in_aws(client)


def _is_behind_in_aws(client: Any) -> bool:
    """Say whether AWS lacks the client's newest rows, whatever its phase."""
    pushed: int | None = client.pushed_revision
    return is_push_pending(revision=client.revision, pushed_revision=pushed)


def _find_change(row: Credential) -> datetime | None:
    """Return when the row was last written since it was made; None where that says nothing of its values."""
    if is_purged(row) or not (row.created_at and row.updated_at):
        return None
    return row.updated_at if row.updated_at > row.created_at + AS_MADE else None


def _find_restore(client: ClientRow) -> datetime | None:
    """Return when the client left the phase `purged` last, if it did."""
    left = PhaseChange.objects.filter(client_id=client.pk, old=Phase.PURGED)
    return left.values_list("changed_at", flat=True).first()


def _describe_place(kind: CredentialType, stored: Mapping[str, Any]) -> str:
    """Say where the login leads, by what is stored."""
    if kind == CredentialType.DATABASE:
        return f"{stored.get('db_host')}:{stored.get('db_port')} › {stored.get('db_name')}"
    if kind == CredentialType.EMAIL:
        hosts = (
            f"{stored.get(f'{each}_host') or ''}:{stored.get(f'{each}_port') or ''}"
            for each in ("smtp", "imap")
        )
        return next((host for host in hosts if host != ":"), "")
    return stored.get("region") or ""


def _describe_stores(client: ClientRow | None, row: Credential) -> str:
    """Say which store has the login's values."""
    if is_purged(row):
        return _("In AWS")
    if client is None or client.pushed_revision is None or Phase(client.phase) == Phase.POSTGRES:
        return _("In PostgreSQL")
    if has_push_pending(client):
        return _("AWS has an older version")
    return _("In both stores")


def _list_facts(row: Credential) -> list[tuple[str, object]]:
    """Return what the columns of a login hold, for who may not change it; of a secret that it is there."""
    columns = [name for name in LOGIN_FORM[row.TYPE] if name != "connection"]
    return [
        (
            str(row._meta.get_field(name).verbose_name),  # type: ignore[union-attr]
            (MASK if getattr(row, name) else "")
            if name in row.SECRET_FIELDS
            else getattr(row, name),
        )
        for name in columns
    ]


def _read_newest_tests(
    request: HttpRequest, client: ClientRow
) -> dict[tuple[LoginKey, str], LoginTest]:
    """Return the newest test of each login that the user may see, by login and store."""
    newest = LoginTest.objects.newest([client.pk]).filter(kind__in=list_visible_logins(request))
    return {
        (LoginKey(CredentialType(test.kind), test.credential_id, test.label), test.store): test
        for test in newest.order_by("pk")
    }


class AwsStateView(ClientView):
    """Says whether AWS has what was saved. The page asks again until it has."""

    template_name = "admin/migration/client_aws_state.html"
    renews_session = False  # an open page asks by itself

    def get(self, request: HttpRequest, client_id: int) -> HttpResponse:
        client = all_clients().with_phase().with_revision().filter(pk=client_id).first()
        if client is None:
            raise Http404
        return self.render_to_response(
            {"original": client, **get_aws_state_context(request, client)}
        )


def get_aws_state_context(request: HttpRequest, client: Any) -> dict[str, object]:
    """Return what AWS has of the client's values: "none", "older" or "newest"; "unused" where NOVA does not read it."""
    state = "newest"
    if Phase(client.phase) == Phase.POSTGRES:
        state = "none"
        if client.pushed_revision is not None:
            state = "unused_older" if _is_behind_in_aws(client) else "unused"
    elif has_push_pending(client):
        state = "older"
    return {
        "aws_state": state,
        "push_url": Phase(client.phase) == Phase.POSTGRES
        and request.user.has_perm(RUN_PERMISSION)
        and get_act_url("push", [client.pk]),
    }
