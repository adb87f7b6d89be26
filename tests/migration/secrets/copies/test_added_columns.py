"""A column that NOVA added to a credential table holds copies like any other, unless it is mapped as secret."""

import pytest
from django.core.management import call_command

from migration.models import CopySearch, Redaction
from migration.secrets.copies import search_copies
from migration.secrets.redaction import count_redactable, plan_redaction
from nova_credentials.phases import Phase
from tests.factories import make_full_client
from tests.migration.moves.clients import enter_phase

PASSWORD, APP_PASSWORD = "example-password-1", "example-app-password-2"
LOGINS, EMAILS = "public.client_database_credentials", "public.client_email_credentials"


@pytest.fixture
def added(nova):
    """Columns that NOVA added, and that nobody has mapped."""
    nova.execute(f"ALTER TABLE {LOGINS} ADD dsn text, ADD token varchar(200), ADD hash bytea")
    nova.execute(f"ALTER TABLE {EMAILS} ADD settings jsonb")
    yield nova
    nova.execute(f"ALTER TABLE {LOGINS} DROP dsn, DROP token, DROP hash")
    nova.execute(f"ALTER TABLE {EMAILS} DROP settings")


@pytest.mark.parametrize("use", ["plain", "ignore", None])
def test_a_password_in_a_column_that_is_not_the_logins_secret_is_found(added, find, use):
    idom = make_full_client("idom")
    if use:
        call_command("nova_tables", "map", f"{LOGINS}.dsn", use)
        call_command("nova_tables", "map", f"{EMAILS}.settings", "ignore")
    added.execute(f"UPDATE {LOGINS} SET dsn = %s", [f"postgresql://me:{PASSWORD}@db/x"])
    added.execute(f"""UPDATE {EMAILS} SET settings = '{{"smtp": ["{APP_PASSWORD}"]}}'""")

    assert find(idom) == {("idom", f"{LOGINS}.dsn"): 1, ("idom", f"{EMAILS}.settings"): 1}


def test_the_logins_own_columns_and_those_mapped_as_secret_are_no_copies(added, find):
    idom = make_full_client("idom")
    call_command("nova_tables", "map", f"{LOGINS}.token", "secret")
    added.execute(f"UPDATE {LOGINS} SET token = %s, label = %s", [PASSWORD, PASSWORD])

    assert find(idom) == {}


def test_a_column_of_a_type_that_is_not_searched_is_not_looked_at(added):
    idom = make_full_client("idom")

    search = search_copies(client_ids=[idom])

    places = {place.place: place.reason for place in search.unsearched_places.all()}
    assert places == {f"{LOGINS}.hash": "type"}


def test_a_purge_is_not_told_that_nothing_was_found(added, find):
    idom = make_full_client("idom")
    for column in (f"{LOGINS}.dsn", f"{LOGINS}.token", f"{LOGINS}.hash", f"{EMAILS}.settings"):
        call_command("nova_tables", "map", column, "ignore")
    added.execute(f"UPDATE {LOGINS} SET dsn = %s", [PASSWORD])
    enter_phase(idom, Phase.AWS)

    find(idom)

    assert CopySearch.objects.get().searched_clients.get().not_looked_at


def test_such_a_copy_is_listed_and_never_redacted(added, find):
    idom = make_full_client("idom")
    for column in (f"{LOGINS}.dsn", f"{LOGINS}.token", f"{LOGINS}.hash", f"{EMAILS}.settings"):
        call_command("nova_tables", "map", column, "ignore")
    added.execute(f"UPDATE {LOGINS} SET dsn = %s", [PASSWORD])
    enter_phase(idom, Phase.AWS)

    plan = plan_redaction(client_ids=[idom], columns=[f"{LOGINS}.dsn"])

    assert (plan.columns, count_redactable(plan).rows_by_client_and_column) == ([], {})
    assert [message.key for message in plan.left_out] == ["redact_credentials"]
    assert not Redaction.objects.exists()
