"""The mismatch report and the page of a comparison."""

from html import unescape
from urllib.parse import quote

import pytest
from django.contrib.auth.models import User
from django.db import connection

from migration.models import Comparison
from migration.pushes.comparisons import SCHEDULED_FOR_DELETION
from nova_credentials.messages import Message
from tests.factories import make_client, make_comparison, make_full_client, make_many
from tests.migration.pages import DIFFERENT, EXTRA, REPORT, page_of, shown_rows, text
from tests.page_forms import pages_left_out

UNCHECKED = Message.from_text_without_key("AWS gave no usable answer.")


@pytest.fixture
def compared(db) -> dict[str, Comparison]:
    found = {}
    for slug, status, mismatches in (
        ("equal", "match", []),
        ("differs", "mismatch", [DIFFERENT, EXTRA]),
        ("other", "mismatch", [DIFFERENT]),
        ("gone", "missing_in_aws", []),
        ("only-aws", "missing_in_postgres", [EXTRA]),
        ("unclear", "unchecked", []),
    ):
        message = {
            "unchecked": "AWS gave no usable answer.",
            "missing_in_aws": "There is no secret.",
        }
        found[slug] = make_comparison(
            make_client(slug),
            status,
            slug=slug,
            mismatches=mismatches,
            message=Message.from_text_without_key(message[status]) if status in message else None,
        )
    return found


def test_the_report_counts_by_status_kind_and_field(viewer, compared):
    context = viewer.get(REPORT).context

    assert {status: number for status, _label, number in context["numbers"]} == {
        "match": 1, "mismatch": 2, "missing_in_aws": 1, "scheduled_for_deletion": 0,
        "missing_in_postgres": 1, "unchecked": 1,
    }  # fmt: skip
    assert {kind: number for kind, _label, number in context["by_kind"]} == {
        "different": 2,
        "extra": 2,
        "missing": 1,
    }
    assert {value: number for value, _field, number in context["by_field"]} == {
        "database.password": 2, "database.host": 2, "*": 1,
    }  # fmt: skip
    assert (context["compared"], context["matched"], context["differing"]) == (6, 1, 4)


def test_the_report_counts_a_clients_newest_comparison_alone(viewer, compared):
    comparison = compared["differs"]
    make_comparison(comparison.client_id, "match", slug="differs")

    response = viewer.get(REPORT)

    assert response.context["matched"] == 2
    assert "differs" not in [slug for slug, _ in shown_rows(response)]


def test_the_report_counts_no_client_that_is_gone(viewer, compared):
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM public.clients WHERE slug = 'other'")

    context = viewer.get(REPORT).context

    assert (context["compared"], context["differing"]) == (5, 3)


def test_what_could_not_be_checked_is_never_counted_as_a_match(viewer):
    for n in range(3):
        make_comparison(make_client(f"c{n}"), "unchecked", message=UNCHECKED)

    response = viewer.get(REPORT)

    words = text(response)
    assert (response.context["matched"], response.context["unchecked_count"]) == (0, 3)
    assert "Last compared" in words
    assert "Match" not in words
    assert "No mismatches" not in words
    assert "AWS gave no usable answer." in words


def test_the_report_is_narrowed_by_its_filters(viewer, compared):
    expected = {
        "": [
            ("differs", "database.host"),
            ("differs", "database.password"),
            ("gone", ""),
            ("only-aws", "database.host"),
            ("other", "database.password"),
        ],
        "status=missing_in_aws": [("gone", "")],
        "status=unchecked": [("unclear", "")],
        "status=match": [("equal", "")],
        "kind=extra": [("differs", "database.host"), ("only-aws", "database.host")],
        "kind=extra&status=mismatch": [("differs", "database.host")],
        "field=database.password": [
            ("differs", "database.password"),
            ("other", "database.password"),
        ],
        "field=database.password&kind=extra": [],
        "status=nonsense": [],
        "kind=nonsense": [],
        "field=%25&page=abc": [],
        "field=x'%22%3Cscript%3E": [],
    }

    assert {query: list_rows(viewer, query) for query in expected} == expected
    for query in ("", "kind=extra", "field=x'%22%3Cscript%3E"):
        page = viewer.get(f"{REPORT}?{query}").content.decode()
        assert ("Filters in use" in page) == bool(query)
        assert "<script>" not in page.split("Filters in use")[-1].split("Clear filters")[0]


def read(viewer, query: str) -> dict:
    """Return what the report is given; the page itself is not made."""
    with pages_left_out():
        response = viewer.get(f"{REPORT}?{query}")
    assert response.status_code == 200
    return response.context_data


def list_rows(viewer, query: str) -> list[tuple[str, str]]:
    page = read(viewer, query)["page"]
    return [
        (row.slug, getattr(field, "path", ""))
        for row in page
        for field in getattr(row, "fields", [row])
    ]


def test_every_number_of_the_report_links_to_as_many(viewer, compared):
    report = viewer.get(REPORT)
    html = report.content.decode()

    for status, _label, number in report.context["numbers"]:
        assert (f'href="?status={status}"' in html) == bool(number)
        assert read(viewer, f"status={status}")["found"]["clients"] == number
    for kind, _label, number in report.context["by_kind"]:
        assert len(list_rows(viewer, f"kind={kind}")) == number
    for value, _field, number in report.context["by_field"]:
        assert f'href="?field={quote(value)}"' in html
        assert read(viewer, f"field={value}")["found"]["clients"] == number


def test_a_long_report_is_shown_in_pages_that_keep_the_filter(viewer):
    make_many(120, status="missing_in_aws")

    first = viewer.get(f"{REPORT}?status=missing_in_aws")

    assert "Page 1 of 3" in text(first)
    assert "?status=missing_in_aws&page=2" in unescape(first.content.decode())
    assert len(shown_rows(viewer.get(f"{REPORT}?status=missing_in_aws&page=3"))) == 20
    assert viewer.get(f"{REPORT}?page=999").status_code == 200


def test_an_empty_report_says_what_to_do(viewer):
    words = text(viewer.get(REPORT))

    assert "Nothing compared yet." in words
    assert "Compare all clients" in words


def test_a_secret_that_is_scheduled_for_deletion_is_not_called_missing(viewer):
    gone, scheduled = make_client("gone"), make_client("scheduled")
    make_comparison(gone, "missing_in_aws", slug="gone")
    message = SCHEDULED_FOR_DELETION(name="nova/clients/scheduled")
    make_comparison(scheduled, "missing_in_aws", slug="scheduled", message=message)

    response = viewer.get(REPORT)

    numbers = {result: n for result, _label, n in response.context["numbers"] if n}
    assert numbers == {"missing_in_aws": 1, "scheduled_for_deletion": 1}
    kinds = {kind: n for kind, _label, n in response.context["by_kind"]}
    assert kinds == {"missing": 1, "scheduled_for_deletion": 1}
    for query in ("status=scheduled_for_deletion", "kind=scheduled_for_deletion"):
        shown = read(viewer, query)
        assert [block.slug for block in shown["page"]] == ["scheduled"]
        assert shown["in_use"]["chips"][0].value in (
            "Scheduled for deletion",
            "scheduled for deletion in AWS",
        )
    for query in ("status=missing_in_aws", "kind=missing"):
        assert [block.slug for block in read(viewer, query)["page"]] == ["gone"]


def test_a_filter_offers_the_kinds_of_difference_that_there_are(viewer):
    make_comparison(make_client("gone"), "missing_in_aws")
    (kinds,) = (
        values for name, _label, values in viewer.get(REPORT).context["choices"] if name == "kind"
    )
    assert [value for value, _text, _chosen in kinds] == ["missing"]


def test_a_report_where_all_is_well_says_so(viewer):
    make_comparison(make_client("idom"), "match")

    words = text(viewer.get(REPORT))

    assert "Match 1" in words
    assert "No mismatches." in words


def test_a_null_byte_in_a_filter_of_the_report_is_no_server_error(viewer, compared):
    for name in ("status", "kind", "field"):
        assert viewer.get(f"{REPORT}?{name}=%00").status_code in (200, 400)


def test_the_page_of_a_comparison_shows_codes_and_lengths(viewer, compared):
    words = text(viewer.get(page_of("migration_comparison", compared["differs"].pk)))

    for shown in (
        "database.password",
        "0a1b2c3d",
        "4e5f6071",
        "9 to 16 characters",
        "17 to 32 characters",
        "differs only by spaces at the start or end",
        "missing",
    ):
        assert shown in words


def test_the_page_of_a_comparison_that_could_not_be_made_says_why(viewer, compared):
    words = text(viewer.get(page_of("migration_comparison", compared["unclear"].pk)))

    assert "AWS gave no usable answer." in words
    assert "All fields matched" not in words


def test_the_page_of_a_real_comparison_holds_no_value_of_either_store(stores, client):
    from migration.pushes.comparisons import compare
    from migration.pushes.pushes import push
    from nova_credentials.aws import ClientSecretsManager

    client.force_login(User.objects.create_superuser("root"))
    pk = make_full_client("idom")
    push(client_ids=[pk])
    sm = ClientSecretsManager()
    document = sm.get_client_credentials("idom")
    document["database"]["password"] = "MARKER-FOUR"
    document["database"]["MARKER-FIVE"] = "MARKER-SIX"
    sm.update_client_credentials("idom", document)
    comparison = compare(client_ids=[pk])[pk]

    for url in (
        page_of("migration_comparison", comparison.pk),
        REPORT,
        f"{page_of('credentials_client', pk)}?tab=comparison",
    ):
        words = client.get(url).content.decode()
        assert "database.password" in words
        assert "MARKER" not in words
        assert "example-password-1" not in words
