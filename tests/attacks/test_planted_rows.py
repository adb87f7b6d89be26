"""Rows that NOVA's role could have the site write into the site's own tables: pages show them, or nothing of them."""

import pytest
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db import connection

from credentials.models import Client
from migration.core.notices import NoticeEvent
from migration.models import Condition
from tests.factories import make_full_client

DEEP = '{"key": "in_a_row", "text": "x", "values": {"sentences": {"message": '


def nest(times: int) -> str:
    return DEEP * times + "7" + "}}}" * times


@pytest.mark.parametrize(
    "facts",
    [
        *("7", "[]", '"text"', "{}", "[[[]]]", '{"key": 1, "values": [], "text": {}}'),
        *(
            f'{{"key": "x", "text": "x", "values": {{"n": {"9" * 5000}}}}}',
            '{"values": {"n": null}}',
        ),
        '{"key": "is_over", "text": "%(x)s {x.__class__}", "values": {"ago": {"time": "soon"}, "what": [[]]}}',
        '{"key": "is_over", "text": "x", "values": {"ago": {"date": "2020-01-01"}, "what": {"message": 7}}}',
        *(nest(30), nest(400), nest(1500)),
    ],
    ids=lambda facts: facts[:20],
)
def test_a_stored_message_that_is_none_of_ours_is_shown_and_breaks_nothing(db, facts):
    Condition.objects.create(event=NoticeEvent.AWS_GONE, subject="aws")
    with connection.cursor() as cursor:
        cursor.execute("UPDATE nova_admin.migration_condition SET facts = %s::jsonb", [facts])

    shown = Condition.objects.get().facts

    assert isinstance(str(shown), str)
    assert "__class__" not in str(shown) or "{x.__class__}" in str(shown)
    assert isinstance(shown.codes, list)


@pytest.mark.parametrize(
    "text",
    [
        '[{"added": {"name": "{x}", "object": "{0.__class__}"}}]',
        '[{"added": {"name": 7}}]',
        '[{"changed": {"fields": 7}}]',
        *('[{"changed": 7}]', "[7]", "[", "[{}]"),
        "[" * 100_000,
    ],
    ids=lambda text: text[:20],
)
def test_an_edit_that_django_did_not_log_is_shown_and_breaks_no_history(client, admin_user, text):
    pk = make_full_client("idom")
    client.force_login(admin_user)
    LogEntry.objects.create(
        user=admin_user,
        content_type=ContentType.objects.get_for_model(Client),
        object_id=pk,
        object_repr="IDOM",
        action_flag=CHANGE,
        change_message=text,
    )

    page = client.get(f"/admin/credentials/client/{pk}/change/?tab=history")

    assert page.status_code == 200
    assert "&lt;class" not in page.content.decode()
