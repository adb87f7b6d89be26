"""What an open page asks again and again takes four queries at most, those of the session and the user among them."""

import pytest
from django.urls import reverse

from migration.models import Run, RunPlan
from nova_credentials.phases import Phase
from tests.migration.test_roles import CLIENT, Site, site

__all__ = ["site"]


def list_polls(site: Site) -> dict[str, str]:
    client = site.clients[Phase.AWS]
    Run.objects.create(kind=Run.Kind.PUSH).add_items([(client, "aws")])
    RunPlan.objects.update(state="making")
    return {
        **{page: reverse(f"admin:{CLIENT}_{page}", args=[client]) for page in ("live", "watch")},
        "run": site.address("migration_run_live") + "?items=all",
        "plan": site.address("migration_run_plan_live"),
    }


@pytest.mark.parametrize("name", ["live", "watch", "run", "plan"])
@pytest.mark.parametrize("role", ["Viewer", "Operator"])
def test_a_poll_takes_at_most_four_queries(site, client, name, role, django_assert_max_num_queries):
    client.force_login(site.users[role])
    address = list_polls(site)[name]

    with django_assert_max_num_queries(4):
        answer = client.get(address)

    assert "hx-get" in answer.content.decode()  # it goes on
