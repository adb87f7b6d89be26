"""A client that NOVA gives another slug is read on: by the name that its secrets have, whatever its slug is now."""

from concurrent.futures import Future

import pytest

from migration.models import ClientMigration
from migration.pushes.pushes import push
from nova_credentials.credential_types import CredentialType
from nova_credentials.document import Layout
from nova_credentials.phases import Phase
from tests.factories import make_client, make_database, make_full_client
from tests.nova_credentials.in_phases import bring
from tests.nova_credentials.reader.questions import (
    AWS_ALONE,
    change_in_aws,
    counts,
    execute,
    put_pending,
)
from tests.nova_credentials.reader.test_postgres_fails import database_down


def rename(pk: int, slug: str) -> None:
    execute("UPDATE public.clients SET slug = %s WHERE id = %s", slug, pk)


@pytest.mark.parametrize("layout", Layout)
def test_a_renamed_client_is_read_on_by_its_new_slug_and_no_failure_counts(
    make_reader, settings, layout
):
    settings.NOVA_SECRET_LAYOUT = layout
    reader = make_reader(timeout=30)
    for phase in Phase:
        pk = make_full_client(phase)
        bring(pk, phase)
        reader.get_primary_credentials(phase)

        for slug in (f"other-{phase}", f"Déjà vu/{phase}", f"third-{phase}"):
            rename(pk, slug)
            assert reader.get_credential(slug, "database").db_password == "example-password-1"
            assert reader.get_credential(slug, "email").client_slug == slug
        with pytest.raises(ValueError, match=phase):
            reader.get_primary_credentials(phase)
        if phase.reads_aws:
            assert counts(pk)[3] == 0


def test_two_clients_that_swap_their_slugs_keep_their_secrets(make_reader):
    reader = make_reader(timeout=30)
    for phase in (Phase.DUAL_READ, *AWS_ALONE):
        one, two = f"one-{phase}", f"two-{phase}"
        pks = {slug: make_client(slug) for slug in (one, two)}
        for slug, pk in pks.items():
            make_database(pk, db_password_encrypted=f"of-{slug}")
            bring(pk, phase)
            reader.get_primary_credentials(slug)

        rename(pks[one], "between")
        rename(pks[two], one)
        rename(pks[one], two)

        # In purged no value is in the tables any more; in the others the values of both stores are the client's own.
        assert reader.get_credential(one, "database").db_password == f"of-{two}"
        assert reader.get_credential(two, "database").db_password == f"of-{one}"


def test_what_aws_was_asked_for_before_the_slug_was_known_to_be_anothers_is_thrown_away(
    make_reader, monkeypatch
):
    """In dual read AWS is asked beside PostgreSQL, by the name that the secrets had last."""
    reader = make_reader(timeout=30)
    for slug in ("idom", "other"):
        pk = make_client(slug)
        make_database(pk, db_password_encrypted=f"of-{slug}")
        bring(pk, Phase.DUAL_READ)
    reader.get_primary_credentials("idom")
    ask, names = reader._aws.start_reading, []

    def ask_and_rename(secret_slug, layout) -> Future:
        names.append(secret_slug)
        asked = ask(secret_slug, layout)
        if len(names) == 1:
            asked.result()
            execute("UPDATE public.clients SET slug = 'gone' WHERE slug = 'idom'")
            execute("UPDATE public.clients SET slug = 'idom' WHERE slug = 'other'")
            push(client_ids=[pk])  # nothing is pending, so that AWS's answer counts
        return asked

    monkeypatch.setattr(reader._aws, "start_reading", ask_and_rename)

    assert reader.get_credential("idom", "database").db_password == "of-other"
    assert names[0] == "idom"
    assert names[1:] in ([], ["other"])


def test_where_postgresql_gives_no_answer_the_last_known_name_is_read(reader, role, sm):
    for phase in AWS_ALONE:
        pk = make_full_client(phase)
        bring(pk, phase)
        rename(pk, f"other-{phase}")
        reader.get_primary_credentials(f"other-{phase}")
    database_down(role)

    for phase in AWS_ALONE:
        change_in_aws(sm, phase, "database", password=f"of-{phase}")
        assert reader.get_credential(f"other-{phase}", "database").db_password == f"of-{phase}"


@pytest.mark.parametrize("phase", [Phase.DUAL_WRITE, Phase.AWS])
def test_a_pending_secret_is_looked_for_under_the_same_name(make_reader, sm, phase):
    pk = make_full_client("idom")
    bring(pk, phase)
    put_pending(sm, Layout.CLIENT, "example-b")
    rename(pk, "other")
    reader = make_reader(timeout=30)
    reader.get_primary_credentials("other")

    (found,) = reader.list_awspending_credentials("other", CredentialType.DATABASE)
    assert found.db_password == "example-b"


@pytest.mark.parametrize("missing", [["secret_slug"], ["secret_slug", "layout"]])
def test_a_site_of_before_has_no_such_column(reader, missing):
    bring(make_full_client("idom"), Phase.AWS)
    table = ClientMigration._meta.db_table
    for column in missing:
        execute(f"ALTER TABLE {table} RENAME COLUMN {column} TO {column}_of_later")
    try:
        assert reader.get_credential("idom", "database").db_password == "example-password-1"
    finally:
        for column in missing:
            execute(f"ALTER TABLE {table} RENAME COLUMN {column}_of_later TO {column}")
