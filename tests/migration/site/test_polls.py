"""What an open page asks again and again takes four queries at most, those of the session and the user among them."""

from types import SimpleNamespace

from django.urls import reverse
from django.utils import timezone

from migration.campaigns import history
from migration.campaigns.history import digest_campaign
from migration.models import Campaign
from migration.runs.models import Run
from nova_credentials.phases import Phase
from tests.migration.people.test_roles import CLIENT, Site, site

__all__ = ["site"]


def list_polls(site: Site) -> dict[str, str]:
    client, campaign = site.clients[Phase.AWS], site.address("migration_campaign_live")
    Run.objects.create(kind=Run.Kind.PUSH).add_items([(client, "aws")])
    Run.objects.filter(state=Run.State.PLANNED).update(state=Run.State.PLANNING)
    return {
        **{page: reverse(f"admin:{CLIENT}_{page}", args=[client]) for page in ("live", "watch")},
        "campaign": f"{campaign}?seen={digest_campaign(Campaign.objects.get().pk)}",
        # Only where its state is another now, the history is read too.
        "run": site.address("migration_run_live") + "?items=all&state=running",
        "at_work": f"{reverse('admin:migration_run_at_work')}?shown=",
        "plan": site.address("credentials_client_act_plan_live"),
    }


def test_a_poll_takes_at_most_four_queries(
    site, client, monkeypatch, django_assert_max_num_queries
):
    # No minute ends between the page and its poll.
    moment = timezone.now()
    monkeypatch.setattr(history, "timezone", SimpleNamespace(now=lambda: moment))
    for role in ("Viewer", "Operator"):
        client.force_login(site.users[role])  # which goes into the audit, and so into a digest
        for name, address in list_polls(site).items():
            if (name, role) == ("plan", "Viewer"):
                continue  # whoever may not start it sees its sheet and its file alone
            with django_assert_max_num_queries(4, info=(name, role)):
                answer = client.get(address)

            # It goes on; a campaign's page is sent nothing where it shows what holds.
            goes_on = "hx-get" in answer.content.decode()
            assert goes_on or (name, answer.status_code) == ("campaign", 204), (name, role)
