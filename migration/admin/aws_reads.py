"""The page that says who read a client's secrets: CloudTrail's queries, beside what this site has on record."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.utils.translation import gettext as _

from migration.admin.base import ClientView
from migration.reports.aws_reads import KNOWN_CALLERS, load_aws_read_queries, make_sql_of_strangers

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse


class AwsReadQueriesView(ClientView):
    """Shows queries to copy; everybody who sees the client may. Asks AWS nothing."""

    template_name = "admin/migration/aws_reads.html"

    @property
    def title(self) -> str:
        return _("Who read the secrets of %(name)s") % {"name": self.client.name}

    def get(self, request: HttpRequest, client_id: int) -> HttpResponse:
        return self.render_to_response(
            self.get_context_data(
                client=self.client,
                found=load_aws_read_queries(self.client),
                strangers=make_sql_of_strangers(),
                callers=KNOWN_CALLERS,
                may_see_audit=request.user.has_perm("migration.view_auditevent"),
            )
        )
