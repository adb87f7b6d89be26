"""The acts of `growth.py` that open pages which show all clients, and send their forms."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.studies.took import ROUNDS, measure_least, measure_work

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.http import HttpResponse
    from django.test import Client

    from tests.studies.took import Took

LIST, DASHBOARD = "/admin/credentials/client/", "/admin/"
GROUP = "Everybody"
# `bulk_data.make_trouble` leaves more of each kind. A page that shows fewer would measure nothing.
AT_LEAST_ONE_OF = 50


def open_cutover(clients: int) -> Took:
    """Open the page of the cutover of all that are ready: it says how many there are, and offers their plan."""
    url = log_in().get(f"{LIST}ready/aws/").url
    assert log_in().get(url).context_data["selected"] >= clients // AT_LEAST_ONE_OF
    return open_page(url)


def open_dashboard(clients: int) -> Took:
    from migration.clients.models import renew_client_counts

    renew_client_counts()
    return open_page(DASHBOARD)


def open_list(clients: int) -> Took:
    return open_page(LIST)


def open_filters(clients: int) -> Took:
    """Count the clients behind each choice of the list's filters, as opening them does."""

    def count_shown(answer: HttpResponse) -> int:
        """Return the smallest of the numbers that have to be there. Phases and next steps are counted by the chips."""
        counts = {each.parameter_name: each.counts for each in find_list(answer).filter_specs}
        return min(counts["failed"].get(kind, 0) for kind in ("push", "compare", "move"))

    return open_page(
        f"{LIST}?_facets=True", headers={"HX-Request": "true"}, count=count_shown, clients=clients
    )


def search_list(clients: int) -> Took:
    return open_page(f"{LIST}?q=000042")


def filter_list(clients: int) -> Took:
    return open_page(f"{LIST}?phase=aws&o=-2")


def filter_blocked(clients: int) -> Took:
    return open_page(f"{LIST}?next=blocked", count=count_listed, clients=clients)


def filter_waiting(clients: int) -> Took:
    return open_page(f"{LIST}?next=waits", count=count_listed, clients=clients)


def open_failures(clients: int) -> Took:
    """Open the page of all clients whose newest act of a kind failed."""
    url = "/admin/migration/run/failures/"
    return open_page(
        url, count=lambda answer: answer.context_data["page"].paginator.count, clients=clients
    )


def open_plan(clients: int) -> Took:
    from migration.runs.models import Run

    plan = Run.objects.get(state=Run.State.PLANNED)
    return open_page(f"/admin/credentials/client/act/plan/{plan.pk}/")


def open_run(clients: int) -> Took:
    return open_page(f"/admin/migration/run/{find_run()}/change/")


def poll_run(clients: int) -> Took:
    return open_page(f"/admin/migration/run/{find_run()}/live/")


def find_run() -> int:
    """Return the newest run over all clients."""
    from migration.runs.models import Run

    return Run.objects.filter(kind=Run.Kind.MIGRATE).first().pk


def put_into_group(clients: int) -> Took:
    """Select all clients in the list, and put them into a new group."""
    from migration.models import GroupMember

    took = measure_work(lambda: change_group("put_into_group", new_name=GROUP))
    assert GroupMember.objects.count() == clients
    return took


def take_out_of_group(clients: int) -> Took:
    from migration.models import ClientGroup, GroupMember

    assert GroupMember.objects.count() == clients
    group = ClientGroup.objects.get(name=GROUP)
    took = measure_work(lambda: change_group("take_out_of_group", group=str(group.pk)))
    assert not GroupMember.objects.exists()
    return took


def change_group(action: str, **typed: str) -> None:
    """Use the list's action on all clients, and send the form of the page that it shows."""
    browser = log_in()
    asked = {"action": action, "select_across": "1", "_selected_action": ["1"]}
    page = browser.get(browser.post(LIST, asked).url)
    sent = {"confirmed": "1", "clients": page.context_data["shown"], **typed}
    assert browser.post(f"{LIST}act/{action}/", sent).status_code == 302, action


def open_page(
    url: str,
    *,
    data: dict[str, str] | None = None,
    headers: dict[str, str] | None = None,
    rounds: int = ROUNDS,
    count: Callable[[HttpResponse], int] | None = None,
    clients: int = 0,
) -> Took:
    """Return the least seconds of some rounds. `count` finds in the page how many of the clients it is about."""
    browser = log_in()

    def ask() -> None:
        answer = browser.get(url, headers=headers) if data is None else browser.post(url, data)
        assert answer.status_code == 200, url
        assert count is None or count(answer) >= clients // AT_LEAST_ONE_OF, url

    return measure_least(ask, rounds)


def count_listed(answer: HttpResponse) -> int:
    return find_list(answer).result_count


def find_list(answer: HttpResponse):
    return answer.context_data["cl"]


def log_in() -> Client:
    from django.conf import settings
    from django.contrib.auth.models import User
    from django.test import Client

    settings.ALLOWED_HOSTS = ["testserver"]
    browser = Client()
    root = User.objects.filter(username="root").first()
    browser.force_login(root or User.objects.create_superuser("root"))
    return browser
