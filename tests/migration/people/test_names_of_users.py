"""`--by USER` writes a name into the history: only that of somebody who may do it."""

import pytest
from django.core.management import CommandError, call_command

from migration.models import DatabaseClaim, WriteStop
from tests.factories import make_user

COMMANDS = {
    ("claim_database",): ("migration.claim_database", ("--reason", "INC-42")),
    ("aws_writes", "stop"): ("migration.stop_aws_writes", ("--reason", "INC-42")),
    ("aws_writes", "start"): ("migration.stop_aws_writes", ()),
    ("nova_tables", "map"): ("credentials.map_column", ("public.clients.nothing", "ignore")),
    ("nova_tables", "accept"): ("credentials.accept_object", ()),
}


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_somebody_who_may_not_do_it_is_not_named(stores, command):
    permission, arguments = COMMANDS[command]
    make_user("maria", "migration.view_run")
    before = DatabaseClaim.objects.count()

    with pytest.raises(CommandError) as refusal:
        call_command(*command, *arguments, "--by", "maria")

    assert refusal.value.returncode == 2
    assert str(refusal.value) == f"maria lacks the permission {permission}"
    assert (DatabaseClaim.objects.count(), WriteStop.objects.count()) == (before, 0)
