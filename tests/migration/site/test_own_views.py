"""Every page and button that the admin adds to Django's own: who is refused, and which methods."""

from collections.abc import Iterator

from django.contrib import admin
from django.contrib.auth.models import User
from django.urls import reverse

from migration.core.pages import PAGES, AdminView, AdminWithOwnViews
from tests.factories import make_full_client
from tests.migration.pages import login, make_run
from tests.page_forms import refusals_left_out

OWN_VIEWS = [
    (f"{model._meta.app_label}_{model._meta.model_name}_{name}", route, view)
    for model, model_admin in admin.site._registry.items()
    if isinstance(model_admin, AdminWithOwnViews)
    for route, name, view in [*model_admin.own_views, *PAGES[model._meta.model_name]]
]


def list_addresses(*, client_id: int, run_id: int) -> Iterator[tuple[str, set[str]]]:
    for name, route, view in OWN_VIEWS:
        values = {
            "client_id": client_id,
            "user_id": 1,
            "pk": run_id,
            "new": "aws",
            "act": "copy_to_aws",
            "kind": "database",
            "credential_id": 1,
            "recipient_id": 1,
            "name": "db_password",
            "rest": "sheet/",
        }
        args = {key: value for key, value in values.items() if f":{key}>" in route}
        yield reverse(f"admin:{name}", kwargs=args), methods_of(view)


def methods_of(view: type[AdminView]) -> set[str]:
    taken = {"get", "post"} & {*view.http_method_names}
    return {name for name in taken if hasattr(view, name)}


def test_there_are_views_and_each_answers_something():
    assert len(OWN_VIEWS) == 76
    assert all(methods_of(view) for _name, _route, view in OWN_VIEWS)


def test_nobody_gets_further_than_the_login_and_without_permissions_nowhere(client, db):
    addresses = list(list_addresses(client_id=make_full_client("idom"), run_id=make_run(1).pk))
    for url, methods in addresses:
        for method in methods:
            response = getattr(client, method)(url)
            assert response.status_code == 302, url
            assert response.url.startswith("/admin/login/"), url

    login(client, "new")
    with refusals_left_out():
        for url, methods in addresses:
            for method in methods:
                response = getattr(client, method)(url, {"new": "aws", "seen": "dual_read"})
                assert response.status_code == 403, url
            # A wrong method is not allowed whoever asks.
            for method in {"get", "post", "put", "delete", "options"} - methods:
                assert getattr(client, method)(url).status_code == 405, url


def test_a_page_of_the_site_stands_under_its_own_name_and_not_under_runs(client, db, stores):
    client.force_login(User.objects.create_superuser("root"))

    for name in ("notices", "health", "check_aws", "aws_writes"):
        html = client.get(reverse(f"admin:migration_run_{name}")).content.decode()

        path = html[html.index("page-title") : html.index("</h1>")]
        title = html[html.index("<title>") + 7 : html.index("</title>")].split("·")[0]
        assert "Runs" not in path
        assert title.strip() in path, name
