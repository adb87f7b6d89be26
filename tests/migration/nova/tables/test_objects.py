"""An object of others on NOVA's tables shuts the gates until somebody accepts it, as it is defined now."""

import json

import pytest
from django.core.management import CommandError, call_command

from credentials.models import AcceptedObject
from credentials.nova_objects import ObjectKind
from migration.core.audit import ReasonError
from migration.core.problems import Look, list_results
from migration.nova.tables import (
    AcceptanceRefusedError,
    accept_objects,
    list_nova_objects,
    read_nova_tables,
    split_unknown_accepted,
)
from nova_credentials.messages import Message
from nova_credentials.phases import Phase
from tests.factories import make_user
from tests.migration.moves.clients import advance, codes, compare_apart
from tests.migration.nova.tables.conftest import LOGINS, execute

CLIENTS, EMAILS = "public.clients", "public.client_email_credentials"
FUNCTION = (
    "CREATE OR REPLACE FUNCTION public.novas() RETURNS trigger LANGUAGE plpgsql AS"
    " 'BEGIN {} RETURN NEW; END'"
)


@pytest.fixture
def trigger(change) -> str:
    """A trigger of NOVA's; gives its name."""
    change(FUNCTION.format(""), "DROP FUNCTION public.novas")
    change(
        f"CREATE TRIGGER stamps BEFORE UPDATE ON {LOGINS} FOR EACH ROW EXECUTE FUNCTION public.novas()",
        f"DROP TRIGGER IF EXISTS stamps ON {LOGINS}",
    )
    return "stamps"


def unknown() -> list[tuple[str, str, str]]:
    return [(e.kind, e.name, e.table) for e in split_unknown_accepted(list_nova_objects())[0]]


def list_unknown() -> list[Message]:
    (found,) = list_results(Look(), only=["objects_unknown"])
    return [each.message for each in found.failed]


def accept_all(reason: str = "INC-42", **options) -> None:
    digests = [each.digest for each in split_unknown_accepted(list_nova_objects())[0]]
    accept_objects(digests=digests, reason=reason, **options)


def test_there_is_none_on_the_tables_as_novas_scripts_and_this_site_leave_them(stores):
    assert unknown() == []


def test_it_shuts_the_gates_until_it_is_accepted(idom, trigger, change):
    advance(idom, Phase.DUAL_READ)
    compare_apart(idom, 3)
    assert codes(idom, Phase.AWS) == ["objects_unknown"]
    assert [trigger in str(each) for each in list_unknown()] == [True]
    accept_all()
    advance(idom, Phase.AWS)

    # A purge asks again.
    compare_apart(idom, 3)
    change(
        f"CREATE RULE stamps AS ON DELETE TO {CLIENTS} DO NOTHING",
        f"DROP RULE IF EXISTS stamps ON {CLIENTS}",
    )
    assert codes(idom, Phase.PURGED) == ["objects_unknown"]

    accept_all()
    advance(idom, Phase.PURGED)
    assert list_unknown() == []


def test_who_accepted_when_and_why_is_kept(trigger):
    maria = make_user("maria")

    accept_all("INC-42 it sets updated_at", by=maria)

    accepted = AcceptedObject.objects.get()
    assert (accepted.kind, accepted.name, accepted.table) == (ObjectKind.TRIGGER, trigger, LOGINS)
    assert (accepted.username, accepted.reason) == ("maria", "INC-42 it sets updated_at")


CHANGED = {
    "its function's body": (FUNCTION.format("NEW.label := NULL;"),),
    "its function's rights": ("ALTER FUNCTION public.novas() SECURITY DEFINER",),
    "its function's owner": (
        "CREATE ROLE another; ALTER FUNCTION public.novas() OWNER TO another",
    ),
    "when it fires": (
        (
            f"CREATE OR REPLACE TRIGGER stamps BEFORE INSERT OR UPDATE ON {LOGINS} FOR EACH ROW"
            " EXECUTE FUNCTION public.novas()"
        ),
    ),
    "whether it is enabled": (f"ALTER TABLE {LOGINS} ENABLE ALWAYS TRIGGER stamps",),
}


def test_what_was_changed_since_has_to_be_accepted_anew(trigger, change):
    accept_all()
    for number, (what, statements) in enumerate(CHANGED.items(), 2):
        if "another" in statements[0]:
            back = "ALTER FUNCTION public.novas() OWNER TO CURRENT_USER; DROP ROLE another"
            change("SELECT 1", back)
        execute(*statements)

        assert unknown() == [(ObjectKind.TRIGGER, trigger, LOGINS)], what

        accept_all()
        assert unknown() == []
        assert AcceptedObject.objects.count() == number


def test_it_is_another_one_when_a_function_or_a_domain_that_it_uses_is_changed(change):
    function = "CREATE OR REPLACE FUNCTION public.{}() RETURNS {} LANGUAGE sql AS 'SELECT {}'"
    change(function.format("now2", "text", "''a''"), "DROP FUNCTION public.now2")
    change(
        f"ALTER TABLE {CLIENTS} ALTER description SET DEFAULT public.now2()",
        f"ALTER TABLE {CLIENTS} ALTER description DROP DEFAULT",
    )
    for name in ("may_see", "may_write"):
        change(function.format(name, "boolean", "true"), f"DROP FUNCTION public.{name}")
    change(
        f"CREATE POLICY own ON {CLIENTS} USING (public.may_see()) WITH CHECK (public.may_write())",
        f"DROP POLICY own ON {CLIENTS}",
    )
    change("CREATE DOMAIN public.words AS text", "DROP DOMAIN public.words")
    change(
        f"ALTER TABLE {EMAILS} ALTER sender_whitelist TYPE public.words",
        f"ALTER TABLE {EMAILS} ALTER sender_whitelist TYPE text",
    )
    for statement, *what in (
        (function.format("now2", "text", "''b''"), ObjectKind.DEFAULT, "description", CLIENTS),
        (function.format("may_see", "boolean", "false"), ObjectKind.POLICY, "own", CLIENTS),
        (function.format("may_write", "boolean", "false"), ObjectKind.POLICY, "own", CLIENTS),
        (
            "ALTER DOMAIN public.words ADD CONSTRAINT short CHECK (length(VALUE) < 9999)",
            *(ObjectKind.DOMAIN, "sender_whitelist", EMAILS),
        ),
    ):
        accept_all()
        assert unknown() == []

        execute(statement)

        assert unknown() == [tuple(what)]


def test_a_trigger_that_bears_the_name_of_ours_is_listed(change):
    change(FUNCTION.format("").replace("novas", "count_write"), "DROP FUNCTION public.count_write")
    change(
        f"CREATE TRIGGER nova_admin_count_write_2 AFTER UPDATE ON {CLIENTS} FOR EACH ROW"
        " EXECUTE FUNCTION public.count_write()",
        f"DROP TRIGGER nova_admin_count_write_2 ON {CLIENTS}",
    )

    assert unknown() == [(ObjectKind.TRIGGER, "nova_admin_count_write_2", CLIENTS)]


def test_what_was_changed_between_the_look_and_the_click_is_not_accepted(trigger):
    (seen,) = split_unknown_accepted(list_nova_objects())[0]
    execute(FUNCTION.format("NEW.label := NULL;"))

    with pytest.raises(AcceptanceRefusedError):
        accept_objects(digests=[seen.digest], reason="INC-42")

    assert not AcceptedObject.objects.exists()


def test_roles_are_told_and_never_accepted(trigger):
    shared = [each for each in list_nova_objects() if each.kind == ObjectKind.SHARED_ROLE]
    assert shared

    with pytest.raises(AcceptanceRefusedError):
        accept_objects(digests=[shared[0].digest], reason="INC-42")


def test_an_acceptance_wants_a_reason_that_can_be_kept_and_the_first_is_kept(trigger):
    for reason, error in (
        ("", AcceptanceRefusedError),
        ("  ", AcceptanceRefusedError),
        ("x" * 501, ReasonError),
    ):
        with pytest.raises(error):
            accept_all(reason)
    assert not AcceptedObject.objects.exists()

    (seen,) = split_unknown_accepted(list_nova_objects())[0]
    accept_objects(digests=[seen.digest], reason="first")
    accept_objects(digests=[seen.digest], reason="second")

    assert AcceptedObject.objects.get().reason == "first"


def test_what_the_tables_are_like_is_read_in_three_queries(
    idom, trigger, django_assert_num_queries
):
    with django_assert_num_queries(3):
        assert read_nova_tables().unknown_objects


# The command


def test_the_command_lists_them_and_accepts_by_digest(trigger, capsys):
    call_command("nova_tables", "accept", "--format", "json")
    (listed,) = json.loads(capsys.readouterr().out)
    assert (listed["kind"], listed["name"], listed["table"]) == ("trigger", trigger, LOGINS)

    call_command("nova_tables", "accept", listed["digest"][:12], "--reason", "INC-42")

    assert trigger in capsys.readouterr().out
    assert unknown() == []


def test_the_command_exits_with_2_where_it_accepts_nothing(trigger):
    (seen,) = split_unknown_accepted(list_nova_objects())[0]

    for arguments in (["0" * 12, "--reason", "x"], ["", "--reason", "x"], [seen.digest]):
        with pytest.raises(CommandError) as refused:
            call_command("nova_tables", "accept", *arguments)

        assert refused.value.returncode == 2
        assert unknown() != []
