"""The page that rotates one login of a client: what will happen, and for a mailbox or an AWS key what is new."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib import messages
from django.http import Http404, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils.functional import cached_property
from django.utils.html import format_html, format_html_join
from django.utils.translation import gettext as _
from unfold.widgets import BASE_INPUT_CLASSES

from credentials.localization import localize
from credentials.models import Client
from migration import rotation_sentences
from migration.core.clients import all_clients
from migration.core.pages import (
    ClientTab,
    ClientView,
    get_signed_in_user,
    get_tab_url,
    read_number,
    read_raw_form_text,
)
from migration.core.snapshots import read_client_with_rows
from migration.models.rotation_schedules import MOST_DAYS, RotationSchedule, today
from migration.models.rotations import (
    ROTATE_PERMISSION,
    Rotation,
    RotationOpenError,
    RotationOutcome,
)
from migration.operations.entered_secrets import ENTERED_COLUMNS, store_entered_secret
from migration.operations.reachable_logins import find_row
from migration.operations.rotations import NotRotated, rotate_database
from nova_credentials.credential_types import CredentialType
from nova_credentials.phases import Phase

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse
    from django.utils.safestring import SafeString

    from credentials.models import Credential

ROTATIONS_SHOWN = 5


class RotateView(ClientView):
    """Says what a rotation of this login does, and does it."""

    template_name = "admin/migration/rotate.html"
    permission_required = ROTATE_PERMISSION

    @cached_property
    def client(self) -> Client:
        return read_client_with_rows(get_object_or_404(Client, pk=self.client_id).pk)

    @cached_property
    def row(self) -> Credential:
        """Return the login that the address names; raise Http404 if there is none that NOVA could ask for."""
        row = next(
            (
                row
                for kind, rows in self.client.credentials_by_type().items()
                for row in rows
                if kind == self.kwargs["kind"] and row.pk == self.kwargs["credential_id"]
            ),
            None,
        )
        if row is None or not nova_can_read_login(self.client, row):
            raise Http404
        return row

    @property
    def label_unless_primary(self) -> str | None:
        return find_label_unless_primary(self.client, self.row)

    @property
    def title(self) -> str:
        what = {"login": f"{self.client.name} › {self.row.describe_host_or_address()}"}
        return _("Rotate %(login)s") % what

    def has_permission(self) -> bool:
        may_view = self.model_admin.has_view_permission(self.request)
        return bool(super().has_permission() and may_view)

    def get(self, request: HttpRequest, **_address: object) -> HttpResponse:
        return self.show_page()

    def post(self, request: HttpRequest, **_address: object) -> HttpResponse:
        if read_raw_form_text(request, "confirmed") != "1":
            return self.show_page()
        entered = self.read_entered()
        if not all(entered.values()):
            return self.show_page(
                [_("Enter the new secret: it is tested by a login, then stored.")]
            )
        try:
            rotation = self.rotate(entered)
        except (NotRotated, RotationOpenError) as refusal:
            return self.show_page([localize(refusal.message)])
        if rotation.outcome == RotationOutcome.ROTATED:
            done = rotation_sentences.ROTATED(login=rotation.client_kind_and_label)
            messages.success(request, localize(done))
            return HttpResponseRedirect(get_tab_url(self.client_id, ClientTab.LOGINS))
        why = rotation.message
        if why and not rotation.is_finished:
            why = rotation_sentences.ROTATION_UNFINISHED(why=why)
        return self.show_page([localize(why)] if why else [])

    def read_entered(self) -> dict[str, str]:
        """Return what was typed, by column; nothing is asked for a database."""
        columns = ENTERED_COLUMNS.get(self.row.TYPE, ())
        return {name: read_raw_form_text(self.request, name) for name in columns}

    def rotate(self, entered: dict[str, str]) -> Rotation:
        by = get_signed_in_user(self.request)
        if self.row.TYPE == CredentialType.DATABASE:
            return rotate_database(
                client_id=self.client_id, label=self.label_unless_primary, by=by, interactive=True
            )
        return store_entered_secret(
            client_id=self.client_id,
            credential_type=self.row.TYPE,
            label=self.label_unless_primary,
            entered=entered,
            by=by,
            warn=lambda message: messages.warning(self.request, localize(message)),
        )

    def show_page(self, problems: list[str] | None = None) -> HttpResponse:
        row = self.row  # first: there may be none
        phase = Phase(
            all_clients().with_phase().values_list("phase", flat=True).get(pk=self.client_id)
        )
        context = self.get_context_data(
            problems=problems or [],
            row=row,
            is_database=row.TYPE == CredentialType.DATABASE,
            phase=phase,
            fields=[
                (name, row._meta.get_field(name).verbose_name, name in row.SECRET_FIELDS)  # type: ignore[union-attr]
                for name in ENTERED_COLUMNS.get(row.TYPE, ())
            ],
            input_classes=" ".join(BASE_INPUT_CLASSES),
            **get_schedule_context(self.client_id),
            rotations=Rotation.objects.filter(client_id=self.client_id)[:ROTATIONS_SHOWN],
            back=get_tab_url(self.client_id, ClientTab.LOGINS),
        )
        response = self.render_to_response(context)
        response["Cache-Control"] = "no-store, private"
        return response


class SetScheduleView(ClientView):
    """Sets every how many days the client's database passwords are rotated."""

    permission_required = ROTATE_PERMISSION

    def post(self, request: HttpRequest, client_id: int) -> HttpResponse:
        typed = read_raw_form_text(request, "days").strip()
        days = read_number(typed)
        if typed and not (days and days <= MOST_DAYS):
            text = _("Nothing was changed: type a number of days from 1 to %(n)s, or nothing.")
            messages.error(request, text % {"n": MOST_DAYS})
        elif RotationSchedule.objects.set_days(
            days, client=self.client, by=get_signed_in_user(request)
        ):
            messages.success(request, _("Changed the schedule of rotations."))
        return HttpResponseRedirect(get_tab_url(client_id, ClientTab.LOGINS))


def get_schedule_context(client_id: int) -> dict[str, object]:
    """Return the client's own schedule, its groups', and the day of its next rotation."""
    schedules = RotationSchedule.objects.of_client_or_its_groups(client_id).select_related("group")
    next_day = RotationSchedule.objects.find_next_days(client_id).get(client_id)
    return {
        "own_schedule": next((each for each in schedules if each.group is None), None),
        "group_schedules": [each for each in schedules if each.group],
        "next_rotation": next_day,
        "is_overdue": next_day is not None and next_day < today(),
        "most_days": MOST_DAYS,
    }


def find_label_unless_primary(client: Client, row: Credential) -> str | None:
    """Return the label by which NOVA asks for this login; None where it is the primary one."""
    return None if find_row(client, row.TYPE, None) == row else row.label


def nova_can_read_login(client: Client, row: Credential) -> bool:
    """Say whether NOVA can ask for this login: as the primary one, or by a label that no other has before it."""
    return find_row(client, row.TYPE, find_label_unless_primary(client, row)) == row


def join_links(*links: SafeString | str) -> SafeString:
    """Put the links that there are beside each other."""
    return format_html_join(" · ", "{}", ((link,) for link in links if link))


def link_rotation(request: HttpRequest, row: Credential) -> SafeString | str:
    """Return the link to the page that rotates the login; "" for a user who may not, or where NOVA can't ask for it."""
    if not request.user.has_perm(ROTATE_PERMISSION):
        return ""
    if not (row.is_primary or row.label):
        return ""
    return format_html(
        '<a class="text-link underline" href="{}" aria-label="{}">{}…</a>',
        reverse("admin:credentials_client_rotate", args=[row.client_id, row.TYPE, row.pk]),
        _("Rotate %(login)s") % {"login": row.describe_host_or_address()},
        _("Rotate"),
    )
