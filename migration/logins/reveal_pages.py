"""The page that reveals one field of a login: who may, the own password first, and what it records."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import timedelta

from django.contrib.auth.signals import user_logged_in
from django.dispatch import receiver
from django.http import Http404, HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.functional import cached_property
from django.utils.translation import gettext as _
from unfold.widgets import BASE_INPUT_CLASSES

from credentials.localization import localize
from credentials.models import Client, Credential
from migration.core.audit import ReasonError
from migration.core.clients import all_clients
from migration.core.comparisons import Comparison
from migration.core.pages import (
    RESOLVE_PERMISSION,
    ClientView,
    get_signed_in_user,
    get_typed_reason,
)
from migration.core.refused_acts import record_refused_reveal
from migration.logins.reveals import NotRevealed, RevealedValue, find_credential, reveal
from migration.people.models import PasswordPlace
from migration.people.password_pages import check_own_password_or_code
from nova_credentials.messages import Sentence
from nova_credentials.phases import Phase

REVEAL_PERMISSION = "migration.reveal_credential"

# A password that was given longer ago is asked for again.
FRESH_SECONDS = 5 * 60
# Of a client that matched since then, no comparison is offered in place of its value.
MATCHED_LATELY = timedelta(minutes=5)

HIDDEN_AFTER_SECONDS = 30

AUTHENTICATED_AT = "authenticated_at"


@receiver(user_logged_in, dispatch_uid="migration.remember_authentication")
def remember_authentication(request: HttpRequest, **_: object) -> None:
    """Note the login's time in the session: it counts as giving the password, by OpenID Connect too."""
    request.session[AUTHENTICATED_AT] = time.time()


def is_freshly_authenticated(request: HttpRequest) -> bool:
    """Say whether the session's password was given in the last FRESH_SECONDS."""
    return 0 <= time.time() - request.session.get(AUTHENTICATED_AT, 0) < FRESH_SECONDS


@dataclass(frozen=True)
class FieldOfCredential:
    """A secret field of one credential of a client."""

    client: Client
    credential: Credential
    credential_type: str
    name: str

    def __str__(self) -> str:
        return f"{self.client.name} › {self.credential.describe_host_or_address()} › {self.label}"

    @property
    def label(self) -> str:
        return label_field(self.credential, self.name)


def label_field(row: Credential, name: str) -> str:
    return str(getattr(row._meta.get_field(name), "verbose_name", name))


WRONG_PASSWORD = Sentence("wrong_password", "the password was wrong.")


class RevealView(ClientView):
    """The page that asks for a reason, and for the password if it was given long ago, and then shows the value."""

    template_name = "admin/migration/reveal.html"
    permission_required = REVEAL_PERMISSION

    @cached_property
    def field(self) -> FieldOfCredential:
        """Return the field that the address names; raise Http404 if there is none."""
        credential_type, name = self.kwargs["kind"], self.kwargs["name"]
        try:
            client, credential = find_credential(
                self.client_id, credential_type, self.kwargs["credential_id"]
            )
        except LookupError:
            raise Http404 from None
        if name not in credential.SECRET_FIELDS:
            raise Http404
        return FieldOfCredential(client, credential, credential_type, name)

    @cached_property
    def client(self) -> Client:
        return self.field.client

    @property
    def title(self) -> str:
        # The way to the page names the client, and its card the login.
        return _("Reveal %(field)s") % {"field": self.field.label}

    def has_permission(self) -> bool:
        may_view = self.model_admin.has_view_permission(self.request)
        return bool(super().has_permission() and may_view)

    def get(self, request: HttpRequest, **_address: object) -> HttpResponse:
        return self.show_page()

    def post(self, request: HttpRequest, **_address: object) -> HttpResponse:
        field = self.field
        if problems := self.confirm_or_list_problems():
            return self.show_page(problems)
        try:
            revealed = reveal(
                client_id=field.client.pk,
                kind=field.credential_type,
                credential_id=field.credential.pk,
                name=field.name,
                by=get_signed_in_user(request),
                reason=get_typed_reason(request),
                # Behind a trusted proxy it is the client's too.
                address=request.META.get("REMOTE_ADDR", ""),
            )
        except LookupError:
            raise Http404 from None
        except (NotRevealed, ReasonError) as refusal:
            return self.show_page([localize(refusal.message)])
        return self.show_page(revealed=revealed)

    def confirm_or_list_problems(self) -> list[str]:
        """Return what is wrong in the form. A right password counts for the session, a wrong one is recorded."""
        request, field, problems = self.request, self.field, []
        if not is_freshly_authenticated(request):
            # The page had no such field where the last time ran out while it was open: nobody typed a wrong one.
            if not (password := request.POST.get("password", "")):
                problems.append(
                    _("Enter your own password too: you last confirmed it a while ago.")
                )
            elif check_own_password_or_code(request, password, place=PasswordPlace.REVEAL):
                request.session[AUTHENTICATED_AT] = time.time()
            else:
                problems.append(_("That is not your password."))
                record_refused_reveal(
                    field.client,
                    field.credential,
                    field.name,
                    why=WRONG_PASSWORD(),
                    by=get_signed_in_user(request),
                )
        if not get_typed_reason(request):
            problems.append(_("Enter a reason or a ticket."))
        return problems

    def is_read_from_aws(self) -> bool:
        """Say whether NOVA gets this client's values from AWS."""
        phases = (
            all_clients().with_ids([self.client.pk]).with_phase().values_list("phase", flat=True)
        )
        return Phase(phases[0]).aws_is_authority

    def has_just_matched(self) -> bool:
        """Say whether the newest comparison was a moment ago, and found both stores alike."""
        newest = Comparison.objects.newest().filter(client_id=self.client.pk).first()
        if newest is None or newest.status != Comparison.Status.MATCH:
            return False
        return newest.compared_at > timezone.now() - MATCHED_LATELY

    def show_page(
        self, problems: list[str] | None = None, *, revealed: RevealedValue | None = None
    ) -> HttpResponse:
        """Show the value, or the form with its problems. No browser and no proxy keeps the page."""
        request = self.request
        context = self.get_context_data(
            here=request.get_full_path(),
            hidden_after=HIDDEN_AFTER_SECONDS,
            label=self.field.label,
            place=self.field.credential.describe_host_or_address(),
            input_classes=" ".join(BASE_INPUT_CLASSES),
            revealed=revealed,
            problems=problems or [],
            nova_reads_aws=revealed is not None and self.is_read_from_aws(),
            wants_password=not is_freshly_authenticated(request),
            reason=request.POST.get("reason", ""),
            may_compare=request.user.has_perm(RESOLVE_PERMISSION) and not self.has_just_matched(),
        )
        response = self.render_to_response(context)
        response["Cache-Control"] = "no-store, private"
        return response
