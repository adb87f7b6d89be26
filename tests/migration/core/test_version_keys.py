"""The versions that this site wrote prove to be its own, whatever other key is rotated."""

import re
import secrets

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.db import connection
from django.db.utils import ProgrammingError
from django.utils.crypto import salted_hmac
from psycopg import sql
from psycopg.errors import InsufficientPrivilege

from migration.core import keys
from migration.core.aws_store import secrets_manager
from migration.core.keys import VersionIdKeys, first_release_version_key, load_version_keys
from migration.models import ClientMigration, Secret, VersionKey
from migration.moves.moves import move
from migration.pushes.pushes import push
from migration.runs.items import Outcome
from nova_admin.environment import AuditSettings
from nova_credentials.phases import Phase
from tests.checkout import ROOT
from tests.factories import make_full_client
from tests.migration.moves.clients import (
    change_in_aws,
    enter_phase,
    is_pending,
    password,
    write_password,
)

NAME = "nova/clients/idom"
# Made by the first release with this SECRET_KEY, of this name, as a first version of '{"client_name": "IDOM"}'.
FIRST_RELEASE_SECRET_KEY = "golden-key-of-a-first-release-0123456789-abcdefghijklmnop"
FIRST_RELEASE_ID = "ba96c28127f4e334cbe15e48d69b29ba06e248876647e2fb605497b050379186"


@pytest.fixture
def idom(stores) -> int:
    pk = make_full_client("idom")
    enter_phase(pk, Phase.AWS)
    return pk


def forget_the_keys(*made: bytes) -> None:
    VersionKey.objects.all().delete()
    VersionKey.objects.bulk_create(VersionKey(key=key) for key in made)


def id_of_the_first_release(name: str, replaced: str, text: str) -> str:
    """As the first release's code made it."""

    def digest(purpose: str, *parts: str) -> str:
        text = "".join(f"{len(part)}:{part}" for part in parts)
        return salted_hmac(f"nova_admin.{purpose}", text, algorithm="sha256").hexdigest()

    half = digest("token", name, replaced, text)[:32]
    return half + digest("ours", name, half)[:32]


@pytest.fixture
def written_by_the_first_release(stores, monkeypatch) -> int:
    """A client in `aws` whose version has a first release's id, on a database that was migrated since."""

    def new_id(self, name, *, replaced, text):
        return id_of_the_first_release(name, replaced, text)

    pk = make_full_client("idom")
    with monkeypatch.context() as patch:
        patch.setattr(VersionIdKeys, "new_id", new_id)
        patch.setattr(VersionIdKeys, "is_ours", lambda *_: True)
        enter_phase(pk, Phase.AWS)
    forget_the_keys()
    keys.make_version_keys(using="default")
    return pk


def rotate(settings) -> None:
    """By the book: with the former key as a fallback this host still has what all hosts share."""
    old, settings.SECRET_KEY = settings.SECRET_KEY, secrets.token_urlsafe(64)
    settings.SECRET_KEY_FALLBACKS = [old]
    settings.NOVA_AUDIT = AuditSettings(old_keys=(old,))
    settings.NOVA_FINGERPRINT_KEY = secrets.token_urlsafe(64)


def test_a_rotated_secret_key_leaves_novas_newer_write_where_it_is(idom, settings):
    """Nor does a host that has no former key as a fallback, and differs from the others."""
    write_password(idom, "example-newer")
    settings.SECRET_KEY = secrets.token_urlsafe(64)

    move(client_id=idom, new=Phase.DUAL_READ)

    assert password(idom) == "example-newer"
    assert is_pending(idom)


def test_a_rotated_secret_key_makes_no_push_of_ours_a_foreign_one(idom, settings):
    write_password(idom, "example-newer")
    Secret.objects.update(version_id="of a write whose answer was lost")
    rotate(settings)

    (pushed,) = push(client_ids=[idom])

    assert pushed.outcome == Outcome.UPDATED
    assert not is_pending(idom)


def test_what_the_first_release_wrote_stays_ours_after_the_migration_and_a_rotation(
    written_by_the_first_release, settings
):
    pk = written_by_the_first_release
    write_password(pk, "example-newer")
    rotate(settings)

    move(client_id=pk, new=Phase.DUAL_READ)

    assert password(pk) == "example-newer"
    (pushed,) = push(client_ids=[pk])
    assert pushed.outcome == Outcome.UPDATED


@pytest.mark.parametrize("written", ["idom", "written_by_the_first_release"])
def test_what_somebody_else_wrote_is_still_not_ours(stores, request, written):
    pk = request.getfixturevalue(written)
    change_in_aws(secrets_manager(), password="example-theirs")
    write_password(pk, "example-newer")

    (pushed,) = push(client_ids=[pk])
    move(client_id=pk, new=Phase.DUAL_READ)

    assert pushed.outcome == Outcome.FAILED
    assert password(pk) == "example-theirs"


def test_the_first_releases_ids_are_verified_byte_for_byte(settings):
    settings.SECRET_KEY = FIRST_RELEASE_SECRET_KEY
    proves = VersionIdKeys((first_release_version_key(FIRST_RELEASE_SECRET_KEY),))

    assert id_of_the_first_release(NAME, "", '{"client_name": "IDOM"}') == FIRST_RELEASE_ID
    assert proves.is_ours(NAME, FIRST_RELEASE_ID)
    assert not proves.is_ours("nova/clients/other", FIRST_RELEASE_ID)
    assert not proves.is_ours(NAME, FIRST_RELEASE_ID[:-1] + "7")
    assert not VersionIdKeys((first_release_version_key("another"),)).is_ours(
        NAME, FIRST_RELEASE_ID
    )


def test_the_newest_key_signs_and_each_proves():
    old, new = VersionIdKeys((b"old",)), VersionIdKeys((b"new", b"old"))
    by_old, by_new = (each.new_id(NAME, replaced="x", text="y") for each in (old, new))

    assert new.is_ours(NAME, by_old)
    assert new.is_ours(NAME, by_new)
    assert not old.is_ours(NAME, by_new)
    assert by_new == new.new_id(NAME, replaced="x", text="y")
    assert by_new != new.new_id(NAME, replaced="z", text="y")
    assert len(by_new) == 64


@pytest.mark.parametrize("version_id", ["", "x", "ñ" * 64, "a" * 32, "a" * 64, "\0"])
def test_any_text_can_be_a_foreign_id(version_id):
    assert not VersionIdKeys((b"key",)).is_ours(NAME, version_id)


def test_a_new_database_has_one_random_key_that_migrate_keeps(transactional_db):
    (key,) = VersionKey.objects.values_list("key", flat=True)
    assert len(bytes(key)) == 32
    assert first_release_version_key(FIRST_RELEASE_SECRET_KEY) != bytes(key)

    call_command("migrate", verbosity=0)

    assert [bytes(k) for k in VersionKey.objects.values_list("key", flat=True)] == [bytes(key)]


def test_a_first_releases_database_gets_its_derived_key_below_a_random_one(db, settings):
    Secret.objects.create(client_id=make_full_client("idom"))
    forget_the_keys()

    keys.make_version_keys(using="default")

    random, derived = load_version_keys().keys
    assert derived == first_release_version_key(settings.SECRET_KEY)
    assert random != derived


def test_a_database_that_pushed_nothing_gets_no_key_that_others_can_derive(db, settings):
    """A copy of NOVA's tables alone, beside a site with the same SECRET_KEY."""
    ClientMigration.objects.create(client_id=make_full_client("idom"))
    forget_the_keys()

    keys.make_version_keys(using="default")

    (random,) = load_version_keys().keys
    assert random != first_release_version_key(settings.SECRET_KEY)


def test_without_a_key_nothing_is_written_and_it_is_said_what_to_run(db):
    forget_the_keys()

    with pytest.raises(ImproperlyConfigured, match=re.escape("run manage.py migrate")):
        load_version_keys()


def test_a_key_is_in_no_text_of_its_objects(db):
    row = VersionKey.objects.first()
    key = bytes(row.key)

    shown = f"{row} {row!r} {load_version_keys()!r} {load_version_keys()}"

    assert repr(key) not in shown
    assert key.hex() not in shown


def test_the_readers_role_cannot_read_the_keys(db):
    """With what docs/nova.md tells to grant, and nothing else."""
    granted = re.findall(r"^GRANT .*;$", (ROOT / "docs/nova.md").read_text(), re.MULTILINE)
    role = sql.Identifier("a_reader_of_version_keys")
    with connection.cursor() as cursor:
        cursor.execute(sql.SQL("CREATE ROLE {}").format(role))
        for statement in granted:
            cursor.execute(statement.replace(" TO nova;", " TO a_reader_of_version_keys;"))
        cursor.execute(sql.SQL("SET LOCAL ROLE {}").format(role))
        cursor.execute("SELECT count(*) FROM nova_admin.migration_clientmigration")
        with pytest.raises(ProgrammingError) as refused:
            cursor.execute("SELECT key FROM nova_admin.migration_versionkey")

    assert isinstance(refused.value.__cause__, InsufficientPrivilege)
