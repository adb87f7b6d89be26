"""The line that says which run has a client. An open page asks for it again until the run is done with the client."""

from __future__ import annotations

from typing import TYPE_CHECKING

from migration.admin.base import ClientView
from migration.admin.client_tabs import read_tab
from migration.models.run_items import RunItem
from migration.models.runs import Run

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse


class LiveClientView(ClientView):
    """The line for a page that is open; once no run has the client, it has the page show what came of it."""

    template_name = "admin/migration/client_live.html"
    renews_session = False  # an open page asks by itself

    def get(self, request: HttpRequest, client_id: int) -> HttpResponse:
        context = get_live_context(request, client_id)
        return self.render_to_response(context | {"is_over": context["open_item"] is None})


def get_live_context(request: HttpRequest, client_id: int) -> dict[str, object]:
    """Return what the live line of the client's page shows.

    `open_item`: the newest that workers have to do with this client, but for the sweep; None where there is none.
    """
    items = RunItem.objects.open().filter(client_id=client_id, run__finished_at=None)
    # The sweep takes every client, four times an hour.
    others = items.exclude(run__kind=Run.Kind.COMPARE, run__by_name="")
    others = others.exclude(run__state__in=(Run.State.REQUESTED, Run.State.STOPPED))
    return {
        "client_id": client_id,
        "open_item": others.select_related("run").order_by("-pk").first(),
        "tab": read_tab(request).value,
        "may_view_runs": request.user.has_perm("migration.view_run"),
    }
