"""The certificate of a client's cutover: its page, which prints on one sheet, and its file, which can be proved."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.http import Http404, HttpResponse, HttpResponseBadRequest
from django.utils.http import content_disposition_header
from django.utils.text import get_valid_filename
from django.utils.translation import gettext as _

from credentials.shown_names import escape_name
from migration.admin.base import ClientView, get_signed_in_user
from migration.operations.certificate_facts import (
    NotACertificateError,
    UnreadableCertificateError,
    read_unverified_certificate,
)
from migration.operations.certificates import (
    NotCutOverError,
    collect_cutover_facts,
    find_cutover,
    make_certificate,
    record_download,
)
from migration.reports.certificate_sheet import make_cutover_certificate_sheet, show_moment

if TYPE_CHECKING:
    from django.http import HttpRequest
    from django.http.response import HttpResponseBase

    from migration.operations.certificate_facts import Certificate, SignedFacts

# What its facts are about. Every role has these.
PERMISSIONS = (
    "credentials.view_client",
    "migration.view_comparison",
    "migration.view_copysearch",
    "migration.view_moverequest",
)


def may_view_certificates(request: HttpRequest) -> bool:
    return bool(request.user.has_perms(PERMISSIONS))


def get_cutover_certificate_context(request: HttpRequest, client_id: int) -> dict[str, object]:
    """Return a context with `cutover`: the newest that can be certified; False for a user who may not see it."""
    return {"cutover": may_view_certificates(request) and find_cutover(client_id)}


class CutoverCertificateView(ClientView):
    """Shows the facts as they are now; once the certificate was made, also its signature and its file."""

    template_name = "admin/migration/certificate.html"

    @property
    def title(self) -> str:
        return _("Cutover certificate")

    def has_permission(self) -> bool:
        return may_view_certificates(self.request)

    def dispatch(self, request: HttpRequest, *args: object, **kwargs: object) -> HttpResponseBase:
        """Answer 404 for a client that was never cut over."""
        try:
            return super().dispatch(request, *args, **kwargs)
        except NotCutOverError:
            raise Http404 from None

    def get(self, request: HttpRequest, client_id: int) -> HttpResponse:
        return self._show(collect_cutover_facts(client=self.client, by=get_signed_in_user(request)))

    def post(self, request: HttpRequest, client_id: int) -> HttpResponse:
        """Make a certificate, or return the file of the one that the page had made."""
        user = get_signed_in_user(request)
        if text := request.POST.get("certificate"):
            signed = self._read_own(text)
            if signed is None:
                return HttpResponseBadRequest()
            record_download(client=self.client, by=user)
            return self._send(signed)
        return self._show(*make_certificate(client=self.client, by=user))

    def _show(self, facts: Certificate, signed: SignedFacts | None = None) -> HttpResponse:
        return self.render_to_response(
            self.get_context_data(
                sections=make_cutover_certificate_sheet(facts),
                made=f"NOVA Admin · {show_moment(facts.made_at)} · {escape_name(facts.made_by)}",
                signed=signed,
            )
        )

    def _read_own(self, text: str) -> SignedFacts | None:
        """Return what the page sent back; None where it is no certificate of this client that this site signed."""
        try:
            signed = read_unverified_certificate(text)
        except (UnreadableCertificateError, NotACertificateError):
            return None
        facts = signed.facts
        is_own = isinstance(facts, dict) and facts.get("client_id") == self.client.pk
        return signed if is_own and signed.is_genuine else None

    def _send(self, signed: SignedFacts) -> HttpResponse:
        name = get_valid_filename(f"certificate-{self.client.slug}.json")
        return HttpResponse(
            signed.certificate_file_text,
            content_type="application/json",
            headers={"Content-Disposition": content_disposition_header(True, name) or ""},
        )
