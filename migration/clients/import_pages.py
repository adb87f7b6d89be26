"""Pages of imports: the file, what each line would do, the result, and the refused lines as a file."""

from __future__ import annotations

import codecs
import io
from collections.abc import Iterable
from functools import cached_property
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from django.contrib import messages
from django.contrib.admin import ModelAdmin
from django.contrib.auth.models import User
from django.core.files.uploadedfile import InMemoryUploadedFile
from django.core.files.uploadhandler import FileUploadHandler, SkipFile
from django.db.models import Q
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.urls import reverse
from django.utils.decorators import method_decorator
from django.utils.html import format_html
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.csrf import csrf_exempt, csrf_protect
from unfold.widgets import CHECKBOX_CLASSES

from credentials.import_columns import IMPORT_COLUMNS, SECRET_COLUMNS
from credentials.legacy import LegacyTableError
from credentials.localization import intcomma, localize, show_moment
from credentials.models import Client
from migration.campaigns.pages import describe_new_member_verdicts
from migration.clients.imports import (
    IMPORT_FILE_TOO_LARGE,
    MOST_BYTES,
    MOST_LINES,
    ImportPlan,
    ImportRefusedError,
    ImportResult,
    LineOutcome,
    PlannedLine,
    preview_import,
    store_import,
    write_refused_lines,
)
from migration.clients.legacy import NothingImported, import_legacy_clients, plan_legacy_import
from migration.core.audit import AuditEvent
from migration.core.correlation import read_or_make_correlation
from migration.core.pages import (
    RUN_PERMISSION,
    AdminView,
    ClientListFilter,
    get_signed_in_user,
    read_raw_form_text,
)
from migration.core.text import make_csv_line
from migration.people.roles import IMPORT_PERMISSIONS, LEGACY_IMPORT_PERMISSIONS
from migration.pushes.saves import CLIENT_ADDED
from migration.runs.act_pages import lead_to_act
from nova_credentials.messages import Message, Sentence

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise

    from migration.core.pages import Options


class ImportFilter(ClientListFilter):
    """Filters the client list by the import that added the clients.

    An import leads to it; without its name there is no such filter.
    """

    title = _("import")
    parameter_name = "import"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Client]) -> Options:
        value = self.value()
        if not value:
            return []
        first = AuditEvent.objects.of_import(read_or_make_correlation(value)).last()
        when = first and show_moment(first.at)
        known = gettext("New in the import of %(when)s") % {"when": when}
        return [(value, known if when else _("Unknown import"))]

    def find_condition(self, value: str) -> Q | None:
        if not value:
            return None
        added = AuditEvent.objects.of_import(read_or_make_correlation(value)).telling(CLIENT_ADDED)
        return Q(pk__in=added.order_by().values("client_id"))


# The page that takes over what only NOVA's legacy table holds: names and kinds first, then all of it or nothing

MOST_ROWS = 200


def get_legacy_url() -> str:
    return reverse("admin:credentials_client_legacy")


class LegacyImportView(AdminView):
    """Shows what becomes of each row, never a value; takes what was shown once somebody confirms it."""

    template_name = "admin/migration/legacy_import.html"
    permission_required = LEGACY_IMPORT_PERMISSIONS[0]

    @property
    def title(self) -> str:
        return gettext("Clients of the legacy table")

    def has_permission(self) -> bool:
        return self.request.user.has_perms(LEGACY_IMPORT_PERMISSIONS)

    def get(self, request: HttpRequest) -> HttpResponse:
        context = self.get_context_data(
            may_view_clients=request.user.has_perm("credentials.view_client")
        )
        try:
            plan = plan_legacy_import()
        except LegacyTableError as error:
            return self.render_to_response(context | {"why_not": error.message})
        sections = [
            (title, rows[:MOST_ROWS], max(len(rows) - MOST_ROWS, 0))
            for title, rows in (
                (gettext("What is added"), plan.taken),
                (gettext("What is left alone"), plan.left_alone),
            )
        ]
        return self.render_to_response(context | {"plan": plan, "sections": sections})

    def post(self, request: HttpRequest) -> HttpResponse:
        try:
            plan = import_legacy_clients(
                seen=read_raw_form_text(request, "seen"), by=get_signed_in_user(request)
            )
        except (LegacyTableError, NothingImported) as refusal:
            messages.error(request, localize(refusal.message))
            return HttpResponseRedirect(get_legacy_url())
        number = len(plan.taken)
        text = ngettext(
            "Added %(n)d row from the legacy table.",
            "Added %(n)d rows from the legacy table.",
            number,
        )
        messages.success(request, text % {"n": number})
        return HttpResponseRedirect(get_legacy_url())


# The page that imports clients from a CSV file: a preview, which stores nothing, then the same file once more


class MemoryUpload(FileUploadHandler):
    """Keeps the first file of a request in memory, never on disk. Of one that is too large only the size is counted."""

    def __init__(self, request: HttpRequest | None = None) -> None:
        super().__init__(request)
        self.content = io.BytesIO()
        self.has_file = False

    def new_file(self, *args: object, **kwargs: object) -> None:
        super().new_file(*args, **kwargs)  # type: ignore[arg-type]  # Django's own
        if self.has_file:
            raise SkipFile
        self.has_file = True

    def receive_data_chunk(self, raw_data: bytes, start: int) -> None:
        if start + len(raw_data) <= MOST_BYTES:
            self.content.write(raw_data)

    def file_complete(self, file_size: int) -> InMemoryUploadedFile:
        self.content.seek(0)
        return InMemoryUploadedFile(
            self.content, self.field_name, "import", self.content_type, file_size, self.charset
        )


IMPORT_NO_FILE = Sentence("import_no_file", "Choose a CSV file.")


@method_decorator(csrf_exempt, name="dispatch")  # `post` is not: nothing may read the file before
class ImportView(AdminView):
    """Previews an import, stores it, and gives its refused lines back as a file.

    The page is sent the file each time: in between nothing of it is kept.
    """

    template_name = "admin/migration/import_clients.html"
    permission_required = "credentials.add_client"

    @property
    def title(self) -> str:
        return gettext("Import clients")

    def has_permission(self) -> bool:
        return may_import(self.request)

    def dispatch(self, request: HttpRequest, *args: object, **kwargs: object) -> HttpResponseBase:
        request.upload_handlers = [MemoryUpload(request)]
        return super().dispatch(request, *args, **kwargs)

    def get(self, request: HttpRequest) -> HttpResponse:
        return self.show_page()

    @method_decorator(csrf_protect)
    def post(self, request: HttpRequest) -> HttpResponse:
        try:
            data = self.read_upload()
        except ImportRefusedError as refusal:
            return self.show_page(refusal=refusal.message)
        order, reason = request.POST.get("order"), None
        if order == "import":
            try:
                token = request.POST.get("plan", "")
                result = store_import(data=data, by=self.user, token=token)
            except ImportRefusedError as refusal:
                reason = refusal.message
            else:
                return self.report(result)
        try:
            plan = preview_import(data=data)
        except ImportRefusedError as refusal:
            return self.show_page(refusal=refusal.message)
        if order == "refused" and plan.refused:
            return self.give_back(data, plan.refused)
        return self.show_page(plan=plan, refusal=reason)

    def give_back(self, data: bytes, refused: Iterable[PlannedLine]) -> HttpResponse:
        """Return the refused lines as a file, with the secrets that came with this request and are kept nowhere."""
        # With the mark a spreadsheet reads it as UTF-8.
        return HttpResponse(
            codecs.BOM_UTF8 + write_refused_lines(data=data, refused=refused).encode(),
            content_type="text/csv; charset=utf-8",
            headers={
                "Content-Disposition": 'attachment; filename="refused-clients.csv"',
                "Cache-Control": "no-store, private",
            },
        )

    def get_template_names(self) -> list[str]:
        """Return the preview alone for a script, which puts it into the page."""
        if self.sent_by_htmx:
            return ["admin/migration/import_preview.html"]
        return [self.template_name]

    @property
    def sent_by_htmx(self) -> bool:
        return "HX-Request" in self.request.headers

    @cached_property
    def user(self) -> User:
        return get_signed_in_user(self.request)

    def read_upload(self) -> bytes:
        """Return the file's bytes. Raises ImportRefusedError where there is no file, or it is too large."""
        file = self.request.FILES.get("file")
        if file is None:
            raise ImportRefusedError(IMPORT_NO_FILE())
        if (size := file.size or 0) > MOST_BYTES:
            raise ImportRefusedError(IMPORT_FILE_TOO_LARGE(n=size, most=MOST_BYTES))
        return bytes(file.read())

    def report(self, result: ImportResult) -> HttpResponse:
        """Say what was stored. Lead to the plan of the migration that was asked for, or to the new clients.

        Where lines were refused, stay: the browser still has the file, which it has to send to get them.
        """
        names = ("new", "changed", "unchanged")
        text = gettext("%(new)s added, %(changed)s changed, %(unchanged)s unchanged.") % {
            name: intcomma(getattr(result, name)) for name in names
        }
        clients = reverse("admin:credentials_client_changelist")
        if result.new:
            clients += "?" + urlencode({ImportFilter.parameter_name: result.correlation})
        migrates = "migrate" in self.request.POST and self.request.user.has_perm(RUN_PERMISSION)
        notes = describe_new_member_verdicts(self.request.user, result.group_ids)
        if result.refused and not migrates:
            return self.show_page(
                refused=result.refused,
                stored=text,
                notes=notes,
                new_clients_url=clients if result.new else "",
            )
        if result.new:
            link = format_html(
                '<a class="underline" href="{}">{}</a>', clients, gettext("See the new clients")
            )
            text = format_html("{} {}", text, link)
        messages.success(self.request, text)
        if result.refused:
            why = ngettext(
                "%(n)s line was refused. To download it, import the file again.",
                "%(n)s lines were refused. To download them, import the file again.",
                len(result.refused),
            )
            messages.warning(self.request, why % {"n": intcomma(len(result.refused))})
        for note in notes:
            messages.warning(self.request, note)
        if migrates:
            answer: HttpResponse = lead_to_act(self.request, "push", sorted(result.client_ids))
        else:
            answer = HttpResponseRedirect(clients)
        if self.sent_by_htmx:
            # What a redirect leads to, htmx would show inside the page.
            return HttpResponse(status=204, headers={"HX-Redirect": answer["Location"]})
        return answer

    def show_page(
        self,
        *,
        plan: ImportPlan | None = None,
        refusal: Message | None = None,
        refused: list[PlannedLine] | None = None,
        **context: object,
    ) -> HttpResponse:
        lines = plan.lines if plan else refused or []
        number = len(plan.new_or_changed_clients) if plan else 0
        return self.render_to_response(
            self.get_context_data(
                refusal=refusal,
                warning=plan and plan.warning,
                counts=plan and [(key, key.label, number) for key, number in plan.counts.items()],
                sections=list_sections(lines, warned=plan.warned if plan else []),
                # It can be confirmed where it would change something.
                token=plan.sign(self.user) if plan and number else "",
                number=number,
                refused=sum(bool(line.problems) for line in lines),
                columns=[(name, name in SECRET_COLUMNS) for name in IMPORT_COLUMNS],
                most_lines=MOST_LINES,
                most_megabytes=MOST_BYTES // 1_000_000,
                may_run=self.request.user.has_perm(RUN_PERMISSION),
                migrates="migrate" in self.request.POST,
                sent_by_htmx=self.sent_by_htmx,
                checkbox_classes=" ".join(CHECKBOX_CLASSES),
                **context,
            )
        )


# The page lists so many lines of each kind; the command lists all.
LINES_SHOWN = {LineOutcome.WRONG: 200, LineOutcome.UNCHANGED: 10}
OTHERS_SHOWN = 50
# Lines that are taken with a warning are listed once more, first.
WARNED, WARNED_SHOWN = "warned", 200


def list_sections(
    planned: Iterable[PlannedLine], *, warned: list[PlannedLine]
) -> list[dict[str, object]]:
    """Return the lines of each kind, each with at most so many of them."""
    of_outcome: dict[LineOutcome, list[PlannedLine]] = {outcome: [] for outcome in LineOutcome}
    for line in planned:
        of_outcome[line.outcome].append(line)
    sections: list[tuple[str, StrOrPromise, list[PlannedLine], int]] = [
        (outcome.value, outcome.label, lines, LINES_SHOWN.get(outcome, OTHERS_SHOWN))
        for outcome, lines in of_outcome.items()
    ]
    sections.insert(1, (WARNED, gettext("Look at these"), warned, WARNED_SHOWN))
    return [
        {"key": key, "title": title, "lines": lines[:most], "number": len(lines), "shown": most}
        for key, title, lines, most in sections
        if lines
    ]


class ImportTemplateView(AdminView):
    """The first line of a file to import, as a file."""

    permission_required = "credentials.add_client"

    def has_permission(self) -> bool:
        return may_import(self.request)

    def get(self, request: HttpRequest) -> HttpResponse:
        return HttpResponse(
            make_csv_line(IMPORT_COLUMNS),
            content_type="text/csv; charset=utf-8",
            headers={"Content-Disposition": 'attachment; filename="clients-to-import.csv"'},
        )


def may_import(request: HttpRequest) -> bool:
    """Say whether the user may add and change all that an import writes."""
    return request.user.has_perms(IMPORT_PERMISSIONS)
