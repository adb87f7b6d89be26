"""NOVA gives clients other slugs: they are read on, and their secrets follow where nobody else's are in the way."""

from contextlib import suppress

import pytest
from django.db import connection

from credentials.models import DatabaseCredential
from credentials.triggers import ensure_writes_are_counted
from migration.core.clients import all_clients, store_lost_secret_slugs
from migration.core.database_identity import note_facts_after_migrate
from migration.core.secrets import OtherSecretsState
from migration.core.snapshots import NAME_IS_ANOTHERS
from migration.models import AuditEvent, ClientMigration, Rotation, Secret
from migration.moves.moves import move
from migration.pushes.comparisons import compare
from migration.pushes.pushes import push
from migration.runs.items import Outcome
from migration.secrets import layouts
from migration.secrets.layouts import (
    LAYOUT_EVENT,
    LayoutRefusedError,
    change_layout,
    follow_new_slugs,
    remove_other_secrets,
)
from migration.tasks import push_pending
from nova_credentials.aws.secrets_manager import SecretsManagerError
from nova_credentials.document import Layout
from nova_credentials.phases import Phase
from nova_credentials.reader.routing import Reader
from tests.factories import make_client, make_database, make_full_client, update
from tests.migration.moves.clients import NAME, advance, enter_phase, write_password
from tests.migration.secrets.layouts.test_change import held, make_due, own, pointers, reader

pytestmark = pytest.mark.usefixtures("stores", "reader")

NEW = "nova/clients/renamed"
__all__ = ["reader"]


def make_in_phase(slug: str, phase: Phase, password: str = "example-password-1") -> int:
    pk = make_full_client(slug) if slug == "idom" else make_client(slug)
    if slug != "idom":
        make_database(pk, db_password_encrypted=password)
    enter_phase(pk, phase)
    return pk


def read(reader: Reader, slug: str) -> str:
    reader._cached.clear()
    return reader.get_credential(slug, "database").db_password


def follow() -> None:
    follow_new_slugs(seconds=60)


def names_of(pk: int) -> tuple[str | None, str | None, str]:
    row = own(pk)
    return row.secret_slug, row.other_slug, row.other_secrets


def exists(sm, name: str) -> bool:
    with suppress(SecretsManagerError):
        return sm.describe_secret(name).deleted_at is None
    return False


@pytest.mark.parametrize(
    ("phase", "layout"),
    [
        (Phase.DUAL_WRITE, Layout.SERVICE),
        pytest.param(Phase.DUAL_WRITE, Layout.CLIENT, marks=pytest.mark.nightly),
        pytest.param(Phase.DUAL_READ, Layout.CLIENT, marks=pytest.mark.nightly),
        (Phase.AWS, Layout.CLIENT),
        pytest.param(Phase.PURGED, Layout.CLIENT, marks=pytest.mark.nightly),
        (Phase.PURGED, Layout.SERVICE),
    ],
)
def test_in_every_phase_the_secret_follows_and_is_read_before_and_after_and_once_the_old_one_goes(
    sm, reader, settings, phase, layout
):
    settings.NOVA_SECRET_LAYOUT = layout
    pk = make_in_phase("idom", phase)
    password = read(reader, "idom")
    update("clients", pk, slug="renamed")
    if phase != Phase.PURGED:
        assert push(client_ids=[pk])[0].outcome == Outcome.UNCHANGED
    old, new = ((f"{n}/database" if layout == Layout.SERVICE else n) for n in (NAME, NEW))
    assert not exists(sm, new)
    assert read(reader, "renamed") == password

    follow()

    assert names_of(pk) == ("renamed", "idom", OtherSecretsState.KEPT)
    assert read(reader, "renamed") == password == held(sm, old) == held(sm, new)
    if phase == Phase.PURGED:
        assert {pointer.split("/")[2] for pointer in pointers(pk)} == {"renamed"}
    else:
        write_password(pk, "example-new")
        assert push(client_ids=[pk])[0].outcome == Outcome.UPDATED
        assert held(sm, old) == held(sm, new) == "example-new"
        password = "example-new"
        (compared,) = compare(client_ids=[pk]).values()
        assert compared.status == "match"
    follow()  # there is nothing left to do

    make_due(pk)
    remove_other_secrets()

    assert names_of(pk) == ("renamed", None, "")
    assert not exists(sm, old)
    assert read(reader, "renamed") == password
    (moved,) = AuditEvent.objects.filter(code=LAYOUT_EVENT, client_id=pk)
    assert (moved.slug, "idom" in str(moved.facts)) == ("renamed", True)


def test_a_purged_client_that_was_renamed_is_restored_before_and_after_its_secret_followed(reader):
    pk = make_in_phase("idom", Phase.PURGED)
    update("clients", pk, slug="renamed")

    move(client_id=pk, new=Phase.AWS)

    assert DatabaseCredential.objects.get(client_id=pk).db_password == "example-password-1"
    advance(pk, Phase.PURGED)
    follow()
    move(client_id=pk, new=Phase.AWS)
    assert DatabaseCredential.objects.get(client_id=pk).db_password == "example-password-1"
    assert read(reader, "renamed") == "example-password-1"


@pytest.mark.parametrize("phase", [Phase.DUAL_READ, Phase.PURGED])
def test_clients_that_swap_their_slugs_keep_their_secrets_and_their_names(sm, reader, phase):
    one, two = (make_in_phase(slug, phase, f"of-{slug}") for slug in ("one", "two"))

    for pk, slug in ((one, "between"), (two, "one"), (one, "two")):
        update("clients", pk, slug=slug)
        follow()
        push(client_ids=[one, two])
        assert read(reader, slug) == ("of-one" if pk == one else "of-two")

    assert (read(reader, "one"), read(reader, "two")) == ("of-two", "of-one")
    for pk in (one, two):
        make_due(pk)
    remove_other_secrets()
    follow()
    assert (read(reader, "one"), read(reader, "two")) == ("of-two", "of-one")
    # "two" waits for the deletion of the one that was another client's; nothing of either is in the other's.
    assert names_of(two) == ("two", None, "")


def test_a_slug_that_was_another_clients_is_refused_to_a_new_client_until_its_secret_is_gone(
    sm, reader
):
    pk = make_in_phase("idom", Phase.AWS)
    update("clients", pk, slug="renamed")
    other = make_client("idom")
    make_database(other, db_password_encrypted="of-other")

    def refusal() -> str | None:
        (pushed,) = push(client_ids=[other])
        assert pushed.outcome == Outcome.FAILED
        return pushed.message.key

    assert refusal() == NAME_IS_ANOTHERS.key
    assert push(client_ids=[other])[0].message.values["slug"] == "renamed"
    follow()
    assert refusal() == NAME_IS_ANOTHERS.key
    assert held(sm, NAME) == "example-password-1"
    assert read(reader, "renamed") == "example-password-1"
    assert read(reader, "idom") == "of-other"

    make_due(pk)
    remove_other_secrets()
    sm.sm.delete_secret(SecretId=NAME, ForceDeleteWithoutRecovery=True)
    (pushed,) = push(client_ids=[other])
    assert (pushed.outcome, held(sm, NAME)) == (Outcome.CREATED, "of-other")


def test_a_slug_that_never_had_a_secret_is_corrected_by_another(sm):
    for layout, wrong, right in ((None, "a b", "ab"), (Layout.CLIENT, "c d", "cd")):
        pk = make_client(wrong)
        make_database(pk)
        ClientMigration.objects.create(client_id=pk, phase=Phase.DUAL_WRITE, layout=layout)
        assert push(client_ids=[pk])[0].outcome == Outcome.FAILED
        update("clients", pk, slug=right)
        assert names_of(pk)[0] == (layout and wrong)
        follow()

        assert push(client_ids=[pk])[0].outcome == Outcome.CREATED
        assert exists(sm, f"nova/clients/{right}")


def test_what_a_deleted_client_was_called_is_free_once_its_secret_is_gone(sm):
    # Keeps one known secret in AWS: an account without any is taken for another one.
    make_in_phase("sur", Phase.AWS)
    pk = make_in_phase("idom", Phase.AWS)
    note_facts_after_migrate("default")
    update("clients", pk, slug="renamed")
    follow()
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM public.clients WHERE id = %s", [pk])
    for name in (NAME, NEW):
        sm.sm.delete_secret(SecretId=name, ForceDeleteWithoutRecovery=True)

    for slug in ("idom", "renamed"):
        other = make_client(slug)
        make_database(other)
        assert push(client_ids=[other])[0].outcome == Outcome.CREATED


def test_renamed_back_its_former_secret_is_its_own_again(sm, reader):
    pk = make_in_phase("idom", Phase.AWS)
    update("clients", pk, slug="renamed")
    follow()
    update("clients", pk, slug="idom")
    assert read(reader, "idom") == "example-password-1"

    follow()

    assert names_of(pk) == ("idom", "renamed", OtherSecretsState.KEPT)
    write_password(pk, "example-new")
    push(client_ids=[pk])
    assert read(reader, "idom") == held(sm, NAME) == held(sm, NEW) == "example-new"


@pytest.mark.parametrize(
    ("prefix", "slugs"),
    [("nova/clients", ["with space", "tilde ñ", "a/b"]), ("nova/" + "c" * 200, ["x" * 100])],
)
def test_a_slug_that_no_secret_can_have_leaves_it_where_it_is(
    reader, settings, prefix, slugs, caplog
):
    caplog.set_level("INFO", logger=layouts.__name__)
    settings.NOVA_SECRET_PREFIX = prefix
    pk = make_in_phase("idom", Phase.AWS)
    for slug in slugs:
        caplog.clear()
        update("clients", pk, slug=slug)
        follow()

        assert names_of(pk)[:2] == ("idom", None)
        # The slug itself is the reason: AWS isn't asked.
        assert "keep their name" in caplog.text
        assert "DescribeSecret" not in caplog.text
        write_password(pk, f"example-{slug}")
        assert push(client_ids=[pk])[0].outcome == Outcome.UPDATED


def test_a_move_that_was_killed_is_gone_on_with_or_its_beginnings_go(sm, reader, monkeypatch):
    pk = make_in_phase("idom", Phase.AWS)
    update("clients", pk, slug="renamed")
    with monkeypatch.context() as killed:
        killed.setattr(layouts, "_require_unchanged", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            follow()
    assert names_of(pk) == ("idom", "renamed", OtherSecretsState.BEGUN)
    assert read(reader, "renamed") == "example-password-1"

    other = make_client("other")  # nobody else gets what was begun
    make_database(other)
    update("clients", pk, slug="third")
    update("clients", other, slug="renamed")
    assert push(client_ids=[other])[0].message.key == NAME_IS_ANOTHERS.key
    follow()
    assert names_of(pk) == ("idom", "renamed", OtherSecretsState.BEGUN)
    make_due(pk)
    remove_other_secrets()
    assert not exists(sm, NEW)
    follow()
    assert names_of(pk) == ("third", "idom", OtherSecretsState.KEPT)
    assert read(reader, "third") == "example-password-1"


def test_it_waits_for_a_rotation_and_a_rename_in_its_very_moment_keeps_the_name_that_is_read(
    reader, monkeypatch
):
    pk = make_in_phase("idom", Phase.AWS)
    update("clients", pk, slug="renamed")
    with monkeypatch.context() as rotating:
        rotating.setattr(Rotation.objects, "find_unfinished", lambda _: Rotation())
        follow()
    assert names_of(pk) == ("idom", None, "")
    switch = layouts._switch

    def rename_first(*args, **kwargs):
        update("clients", pk, slug="third")
        return switch(*args, **kwargs)

    monkeypatch.setattr(layouts, "_switch", rename_first)
    follow()

    assert names_of(pk) == ("renamed", "idom", OtherSecretsState.KEPT)
    assert read(reader, "third") == "example-password-1"


def test_a_layout_changes_before_the_move_and_waits_after_it(reader):
    pk = make_in_phase("idom", Phase.AWS)
    update("clients", pk, slug="renamed")

    assert change_layout(client_id=pk, layout=Layout.SERVICE).outcome == Outcome.UPDATED
    assert read(reader, "renamed") == "example-password-1"
    follow()
    assert names_of(pk) == ("idom", None, OtherSecretsState.KEPT)
    make_due(pk)
    remove_other_secrets()
    follow()
    assert names_of(pk) == ("renamed", "idom", OtherSecretsState.KEPT)
    with pytest.raises(LayoutRefusedError):
        change_layout(client_id=pk, layout=Layout.CLIENT)
    assert read(reader, "renamed") == "example-password-1"


@pytest.mark.parametrize("phase", [Phase.AWS, Phase.PURGED])
def test_a_rename_that_no_trigger_saw_is_found_by_the_name_of_the_secret(
    reader, transactional_db, phase
):
    pk = make_in_phase("idom", phase)
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE public.clients DISABLE TRIGGER nova_admin_count_write")
        cursor.execute("UPDATE public.clients SET slug = 'renamed' WHERE id = %s", [pk])
        cursor.execute("ALTER TABLE public.clients ENABLE TRIGGER nova_admin_count_write")
    with pytest.raises(SecretsManagerError):
        read(reader, "renamed")
    ensure_writes_are_counted()

    push_pending()

    assert read(reader, "renamed") == "example-password-1"
    assert names_of(pk)[0] == "idom"


def test_in_postgres_a_secret_that_is_left_follows_and_one_that_is_gone_is_forgotten(sm):
    pk = make_in_phase("idom", Phase.DUAL_WRITE)
    move(client_id=pk, new=Phase.POSTGRES)
    update("clients", pk, slug="renamed")
    assert names_of(pk)[0] == "idom"

    follow()

    assert names_of(pk)[0] == "renamed"
    assert ClientMigration.objects.with_moved_slug().count() == 0
    assert Secret.objects.filter(client_id=pk).exists()
    assert all_clients().count() == 1


def test_a_shorter_prefix_makes_no_slug_of_a_part_of_the_longer_one(sm, settings):
    pk = make_in_phase("idom", Phase.DUAL_WRITE)
    settings.NOVA_SECRET_PREFIX = "nova"

    store_lost_secret_slugs()

    assert own(pk).secret_slug is None


def test_a_name_of_another_clients_secret_is_not_taken_though_aws_has_none_there(sm, caplog):
    """NOVA reads that client by this name: it would be handed the secret that moves there."""
    mover, holder = (make_in_phase(slug, Phase.DUAL_READ) for slug in ("mover", "idom"))
    update("clients", holder, slug="renamed")
    sm.sm.delete_secret(SecretId=NAME, ForceDeleteWithoutRecovery=True)
    update("clients", mover, slug="idom")

    with caplog.at_level("INFO", logger=layouts.__name__):
        follow()

    assert (names_of(mover), exists(sm, NAME)) == (("mover", None, ""), False)
    assert str(NAME_IS_ANOTHERS(name=NAME, slug="renamed")) in caplog.text


def test_a_secret_that_somebody_made_under_the_new_name_is_left_to_them(sm, caplog):
    pk = make_in_phase("idom", Phase.AWS)
    sm.sm.create_secret(Name=NEW, SecretString='{"theirs": "x"}')
    update("clients", pk, slug="renamed")

    with caplog.at_level("INFO", logger=layouts.__name__):
        follow()

    assert names_of(pk) == ("idom", None, "")
    assert str(layouts.NAME_IS_TAKEN(name=NEW)) in caplog.text
    assert sm.get_value(NEW).text == '{"theirs": "x"}'
