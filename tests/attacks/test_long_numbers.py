"""A number of thousands of digits, which Python does not convert, is none."""

import pytest

from migration.runs.models import Run
from nova_credentials.phases import Phase
from tests.factories import make_comparison, make_full_client
from tests.migration.moves.clients import enter_phase

CLIENT = "/admin/credentials/client"


@pytest.mark.parametrize("digits", [19, 20, 5000])
def test_it_finds_nothing_and_breaks_nothing(stores, client, admin_user, digits):
    client.force_login(admin_user)
    pk, number = make_full_client("idom"), "9" * digits
    enter_phase(pk, Phase.DUAL_READ)
    make_comparison(pk, "mismatch")
    run = Run.objects.create(kind=Run.Kind.PUSH)
    run.add_items([(pk, "idom")])
    run.items.update(outcome="failed")

    answers = [
        client.get(f"{CLIENT}/{pk}/change/?tab=history&history={number}"),
        client.post(f"{CLIENT}/act/cutover/", {"confirmed": "1", "clients": f"{number}:x"}),
        client.get(f"{CLIENT}/act/cutover/?clients={number}"),
        client.get(f"/admin/migration/run/{number}/change/"),
        client.post(f"/admin/migration/run/{run.pk}/steer/", {"order": "retry", "item": number}),
        client.post(
            f"{CLIENT}/act/acknowledge/?clients={number}",
            {"confirmed": "1", "clients": f"{number}:x", "reason": "x", "until": "9999-01-01"},
        ),
    ]

    assert [answer.status_code for answer in answers] == [200, 302, 302, 302, 302, 302]
    assert run.items.filter(outcome="failed").exists()
