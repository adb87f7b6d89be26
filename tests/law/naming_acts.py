"""NOVA gives the machine's client other slugs, also those of another client, which it then deletes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import OperationalError
from psycopg.errors import LockNotAvailable

from migration.models import ClientMigration
from migration.pushes import pushes
from migration.runs.items import PUSHED
from migration.secrets import layouts
from nova_credentials.phases import Phase
from tests.law.actions import Act, Change, require_lock_timeout
from tests.law.invariant import LawBroken

if TYPE_CHECKING:
    from tests.law.environment import World

OF_THE_OTHER = "of the other client"
MAKE_OTHER = "INSERT INTO public.clients (slug, name) VALUES (%(slug)s, %(slug)s) RETURNING id"
GIVE_LOGIN = (
    "INSERT INTO public.client_database_credentials"
    " (client_id, db_host, db_port, db_name, db_user, db_password_encrypted)"
    " VALUES (%s, 'db.example.test', 5432, 'app', 'app', %s)"
)
RENAME = "UPDATE public.clients SET slug = %s WHERE id = %s"


def nova_renames(world: World, _: Change) -> None:
    _rename(world, f"slug-{len(world.slugs)}")


def nova_renames_back(world: World, _: Change) -> None:
    """To what it was called before, or at first."""
    _rename(world, world.slugs[-2] if len(world.slugs) > 1 else world.slugs[0])


def _rename(world: World, slug: str) -> None:
    try:
        world.nova.execute(RENAME, [slug, world.pk])
    except LockNotAvailable:  # it would come later
        return
    world.slugs.append(slug)


def nova_swaps_slugs(world: World, change: Change) -> None:
    """Another client and this one take each other's slug, at once or one after the other; NOVA deletes the other.

    Its secret stays, under the name that this one's slug has now.
    """
    mine, theirs = world.slug, f"other-{len(world.slugs)}"
    (other,) = world.nova.execute(MAKE_OTHER, {"slug": theirs}).fetchone()
    world.nova.execute(GIVE_LOGIN, [other, OF_THE_OTHER])
    try:
        pushed = pushes.push(client_ids=[other])[0].outcome in PUSHED
    except OperationalError as error:
        require_lock_timeout(error)
        pushed = False
    if pushed:
        phase = world.phase if world.phase != Phase.PURGED else Phase.AWS
        ClientMigration.objects.filter(pk=other).update(phase=phase)
    at_once = change.again
    if at_once:
        world.nova.execute("BEGIN")
    between = f"between-{len(world.slugs)}"  # a former one may be what it is called now
    for slug, pk in ((between, world.pk), (mine, other), (theirs, world.pk)):
        world.nova.execute(RENAME, [slug, pk])
        if pk == world.pk:
            world.slugs.append(slug)
        if not at_once:
            _go_on(world, other, slug if pk == other else world.slugs[-1], read_other=pk == other)
    if at_once:
        world.nova.execute("COMMIT")
    _go_on(world, other, mine, read_other=True)
    world.nova.execute("DELETE FROM public.clients WHERE id = %s", [other])


def _go_on(world: World, other: int, slug: str, *, read_other: bool) -> None:
    """The schedule follows and pushes, and NOVA reads both."""
    the_secrets_follow(world, Change())
    for pk in (other, world.pk):
        try:
            pushes.push(client_ids=[pk], overwrite=pk == other)
        except OperationalError as error:
            require_lock_timeout(error)
    world.check()
    if read_other and not world.aws_is_down_for_readers:
        read = world.reader.get_primary_credentials(slug)["database"]
        if read is None or read.db_password != OF_THE_OTHER:
            raise LawBroken(f"{slug}: another client's values were read")


def the_secrets_follow(world: World, _: Change) -> None:
    """The schedule moves the secrets to the name of the present slug."""
    try:
        layouts.follow_new_slugs(seconds=60)
    except OperationalError as error:
        require_lock_timeout(error)


NAMING_STEPS: dict[Act, int] = {the_secrets_follow: 50}
NAMING_ACTS: tuple[Act, ...] = (
    *NAMING_STEPS,
    nova_renames,
    nova_renames_back,
    nova_swaps_slugs,
)
