"""The page NOVA's processes, the dashboard's line about them, and a client's next step where NOVA was never seen."""

import re
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import override

from migration import tasks
from migration.core.problems import PROBLEMS, Look, look_for
from migration.models import ClientMigration, OtherStatement, ReaderProcess
from migration.nova.readers import ADOPTION_STEPS, find_reads_past_package
from nova_credentials.phases import Phase
from tests.checkout import ROOT
from tests.factories import VIEW, make_client, make_many, make_reader_process
from tests.migration.nova.readers import statistics
from tests.migration.nova.readers.test_other_statements import HELPER
from tests.migration.pages import DASHBOARD, login, page_of, text
from tests.page_forms import pages_left_out
from tests.test_no_secret_escapes import Haystack, add_tables, everything_logged, page

READERS = reverse("admin:migration_readerprocess_changelist")
NEVER = "No NOVA process has used the reader yet."


def ago(**given):
    return timezone.now() - timedelta(**given)


@pytest.fixture
def viewer(db, client):
    login(client, "viewer", *VIEW, "migration.view_readerprocess", "migration.view_worker")
    return client


# The page


def test_where_nothing_was_seen_the_page_explains_it_in_five_steps(viewer):
    shown = text(viewer.get(READERS))

    assert NEVER in shown
    for number, step in enumerate(ADOPTION_STEPS, 1):
        assert f"{number}. {step.heading}. {step.text}" in shown


def test_the_five_steps_are_those_of_the_document():
    document = (ROOT / "docs/nova.md").read_text()
    headings = re.findall(r"^\*\*(\d)\. ([^*]+?)\.?\*\*", document, re.MULTILINE)

    with override("en"):
        ours = [(str(number), str(step.heading)) for number, step in enumerate(ADOPTION_STEPS, 1)]
    assert headings == ours


def test_each_process_is_listed_with_its_state_version_key_and_error(viewer):
    make_reader_process(host="api-1", process_id=12345, version="0.2.0")
    make_reader_process(
        host="worker-1",
        version="0.3.0",
        access_key_end="",
        aws_error="permission",
        aws_error_at=ago(minutes=3),
    )
    make_reader_process(host="old-1", last_read_at=ago(hours=3))

    shown = text(viewer.get(READERS))

    assert "2 NOVA processes have used the reader in the last hour." in shown
    assert "AWS fails" in shown
    assert "api-1:12345 check Seen in the last hour 0.2.0 …WXYZ – " in shown
    assert "worker-1:4242 check Seen in the last hour 0.3.0 – No permission" in shown
    assert "old-1:4242 schedule Not seen in the last hour" in shown
    assert NEVER not in shown


def test_the_list_is_filtered(viewer):
    make_reader_process(host="now")
    make_reader_process(host="failing", aws_error="late", aws_error_at=ago(minutes=3))
    make_reader_process(host="old", last_read_at=ago(hours=3))

    def find(query: str) -> set[str]:
        found = viewer.get(f"{READERS}?seen={query}").context["cl"].result_list
        return {row.host for row in found}

    assert find("yes") == {"now", "failing"}
    assert find("no") == {"old"}
    assert find("failing") == {"failing"}
    assert find("x") == {"now", "failing", "old"}


def test_what_a_process_says_of_itself_is_escaped(viewer):
    row = make_reader_process(
        host="<script>alert(1)</script>", aws_error="<b>x", aws_error_at=ago(minutes=1)
    )
    for address in (READERS, page_of("migration_readerprocess", row.pk)):
        html = viewer.get(address).content.decode()
        assert "<script>alert(1)" not in html
        assert "<b>x" not in html
        assert "&lt;script&gt;alert(1)" in html


def test_a_process_has_a_page(viewer):
    row = make_reader_process(aws_error="late", aws_error_at=ago(minutes=7))

    shown = text(viewer.get(page_of("migration_readerprocess", row.pk)))

    assert "…WXYZ" in shown
    assert "AWS answered too late, 7 minutes ago" in shown


def test_without_the_permission_there_is_no_page_and_no_line(client, db):
    row = make_reader_process()
    login(client, "other", *VIEW)

    for address in (READERS, page_of("migration_readerprocess", row.pk)):
        assert client.get(address).status_code == 403
    assert "read through the package" not in text(client.get(DASHBOARD))


def test_the_page_asks_no_more_queries_for_more_processes(viewer):
    make_reader_process()

    def queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            viewer.get(READERS)
        return len(captured)

    queries()
    first = queries()
    for _ in range(49):
        make_reader_process()
    OtherStatement.objects.bulk_create(
        OtherStatement(
            role="nova",
            statement_id=number,
            tables="x",
            calls=1,
            first_noticed_at=ago(hours=1),
            noticed_at=ago(hours=1),
        )
        for number in range(49)
    )

    assert queries() == first


# Who else reads


def test_without_statistics_the_page_says_that_it_is_not_known(viewer):
    shown = text(viewer.get(READERS))

    # The very text of Health, with the restart and the statement to paste.
    (finding,) = find_reads_past_package(Look())
    for each in (finding.message, finding.remedy, *finding.statements):
        assert str(each) in shown
    assert "restarts PostgreSQL" in shown


def test_statements_of_others_are_shown_by_role_table_calls_and_time_and_never_their_text(viewer):
    statistics.install()
    assert "Nobody" in text(viewer.get(READERS))
    statistics.count(HELPER.replace("$2", "'a literal'"), queryid=1, calls=1234)
    tasks.note_other_statements()
    OtherStatement.objects.update(first_noticed_at=ago(hours=5), noticed_at=ago(minutes=5))

    shown = text(viewer.get(READERS))
    assert (
        "postgres (this site's role) client_database_credentials 1,234"
        " not since it was first noticed, 5 hours ago"
    ) in shown.replace("\xa0", " ")
    statistics.count(HELPER, queryid=1, calls=1)
    assert re.search(
        r"client_database_credentials 1,235 \d+ seconds? ago", text(viewer.get(READERS))
    )

    html = viewer.get(READERS).content.decode()
    assert "literal" not in html
    assert "is_primary" not in html


def test_a_secret_in_a_statement_is_found_nowhere(client, db):
    client.force_login(User.objects.create_superuser("root"))
    statistics.install()
    statistics.count("SELECT 'MARKER-FOUR' FROM client_email_credentials")
    haystack = Haystack()

    with everything_logged(haystack):
        tasks.note_other_statements()
        shown = page(haystack, client, READERS)
        add_tables(haystack)

    assert "<code>client_email_credentials</code>" in shown
    assert haystack.found() == []


def test_hidden_statements_are_told_with_the_grant_that_shows_them(viewer):
    statistics.install()
    statistics.count("<insufficient privilege>", queryid=None)

    shown = text(viewer.get(READERS))

    assert 'GRANT pg_read_all_stats TO "postgres"' in shown
    assert "Nobody" not in shown


# The dashboard


def attention(browser) -> dict[str, object]:
    with pages_left_out():
        return {item.code: item for item in browser.get(DASHBOARD).context_data["attention"]}


def test_it_needs_attention_once_clients_are_read_from_aws_and_nobody_reads(viewer):
    make_many(1, phase=Phase.DUAL_WRITE)

    def told() -> list[Phase]:
        """The phases in which it needs attention."""
        found = []
        for phase in Phase:
            ClientMigration.objects.update(phase=phase)
            found += [phase] if look_for(PROBLEMS["readers_gone"], Look()).is_open else []
        return found

    assert told() == [phase for phase in Phase if phase.reads_aws]
    make_reader_process(last_read_at=ago(days=3))
    assert "readers_gone" in attention(viewer)
    make_reader_process()
    assert told() == []


def test_readers_that_aws_fails_need_attention_with_a_list_of_as_many(viewer):
    for minutes in (1, 2, 40):
        make_reader_process(aws_error="permission", aws_error_at=ago(minutes=minutes))

    item = attention(viewer)["readers_fail"]

    assert item.count == 2
    assert viewer.get(item.url).context["cl"].result_count == 2
    assert viewer.get(item.action.url).context["cl"].result_count == 2


# A client's page


def test_where_nova_was_never_seen_a_clients_next_step_is_to_let_it_read(viewer):
    pk = make_client("idom")
    ClientMigration.objects.create(client_id=pk)
    for phase in (Phase.DUAL_READ, Phase.PURGED):
        ClientMigration.objects.update(phase=phase)
        shown = text(viewer.get(page_of("credentials_client", pk)))
        assert shown.count("Next step:") == 1
        assert "Next step: Let NOVA use the reader" in shown
        for step in ADOPTION_STEPS:
            assert f"{step.heading}." in shown
        assert ("After that:" in shown) == (phase != Phase.PURGED)

    make_reader_process(last_read_at=ago(days=300))
    shown = text(viewer.get(page_of("credentials_client", pk)))
    assert "Let NOVA use the reader" not in shown
    assert "After that:" not in shown


def test_nobody_changes_a_process_on_the_pages(client, db):
    row = make_reader_process()
    client.force_login(User.objects.create_superuser("root"))
    for name, arguments in (("add", []), ("delete", [row.pk])):
        url = reverse(f"admin:migration_readerprocess_{name}", args=arguments)
        assert client.post(url, {"post": "yes"}).status_code == 403
    client.post(page_of("migration_readerprocess", row.pk), {"host": "x"})
    assert ReaderProcess.objects.get().host == row.host
