"""The page of the doctor: what `check_nova` prints. To look changes nothing; the button tries everything."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.core.exceptions import PermissionDenied
from django.utils.translation import gettext as _
from unfold.widgets import BASE_INPUT_CLASSES

from migration.admin.base import RUN_PERMISSION, AdminView, add_pages, read_raw_form_text
from migration.models.permissions import VIEW_CHECKS
from migration.operations.doctor.examination import examine_nova
from migration.operations.doctor.findings import FindingState
from migration.operations.doctor.roles import role_exists

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Protocol

    from django.http import HttpRequest, HttpResponse

    from migration.operations.doctor.findings import Finding

    class _WithState(Protocol):
        @property
        def state(self) -> FindingState: ...


class CheckNovaView(AdminView):
    """Shows what the doctor reads in the database; on POST, everything it can find out, for those who may start runs.

    Every role sees the page: it names roles, tables and hosts, and no value.
    """

    template_name = "admin/migration/check_nova.html"
    is_of_site = True
    permission_required = VIEW_CHECKS

    @property
    def title(self) -> str:
        return _("Check NOVA")

    def get(self, request: HttpRequest) -> HttpResponse:
        return self._show_findings(examine_nova(thorough=False))

    def post(self, request: HttpRequest) -> HttpResponse:
        if not request.user.has_perm(RUN_PERMISSION):
            raise PermissionDenied
        role = read_raw_form_text(request, "role").strip()
        if role and not role_exists(role):
            return self._show_findings(examine_nova(thorough=False), role=role, unknown=True)
        return self._show_findings(examine_nova(role=role or None), role=role, thorough=True)

    def _show_findings(
        self, findings: list[Finding], *, role: str = "", **context: object
    ) -> HttpResponse:
        return self.render_to_response(
            self.get_context_data(
                findings=findings,
                role=role,
                failed=count_findings(findings, FindingState.FAILED),
                unlooked=count_findings(findings, FindingState.NOT_LOOKED_AT),
                may_check=self.request.user.has_perm(RUN_PERMISSION),
                input_classes=" ".join(BASE_INPUT_CLASSES),
                **context,
            )
        )


def count_findings(findings: Iterable[_WithState], state: FindingState) -> int:
    return sum(finding.state == state for finding in findings)


add_pages(
    "run",
    ("check-nova/", "check_nova", CheckNovaView),
)
