"""Two people who change people at the same moment, and two who open one link: each in a connection of its own."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.db import connection

from migration.models import PasswordLink, PasswordReset
from migration.people import links
from migration.people.accounts import NotDoneError, digest_state, invite, send_link, set_active
from migration.people.links import VoidLinkError, use_link
from tests.factories import make_in_role
from tests.migration.people.test_people import role

pytestmark = pytest.mark.django_db(transaction=True)

NEW, OTHER = "kT4-zQ9_wB7x-new", "kT4-zQ9_wB7x-other"


def do_at_once(*acts: Callable[[], object]) -> list[object]:
    """What came of each, which begin together."""
    together = threading.Barrier(len(acts))

    def act(what: Callable[[], object]) -> object:
        together.wait()
        try:
            return what()
        except Exception as error:  # noqa: BLE001  # told to the test
            return error
        finally:
            connection.close()

    with ThreadPoolExecutor(len(acts)) as threads:
        return list(threads.map(act, acts))


def give_token(user: User, by: User) -> str:
    return send_link(user, by=by, make_address=lambda token: token).address


def make_keepers() -> tuple[User, User]:
    return make_in_role("keeper", "User administrator"), make_in_role("other", "User administrator")


def test_one_link_gives_one_password():
    keeper, other = make_keepers()
    token = give_token(other, keeper)

    found = do_at_once(partial(use_link, token, NEW), partial(use_link, token, OTHER))

    assert sorted(type(each).__name__ for each in found) == ["User", "VoidLinkError"]
    other.refresh_from_db()
    assert other.check_password(NEW) != other.check_password(OTHER)
    assert PasswordReset.objects.count() == 1


def test_links_of_two_who_made_each_others_wait_for_nobody(monkeypatch):
    """Each holds its person's row, and then names the other one in a row of its own."""
    keeper, other = make_keepers()
    tokens = give_token(other, keeper), give_token(keeper, other)
    both_hold, end_sessions = threading.Barrier(2), links.end_sessions

    def end_once_both_hold(user: User) -> None:
        both_hold.wait(timeout=10)
        end_sessions(user)

    monkeypatch.setattr(links, "end_sessions", end_once_both_hold)

    found = do_at_once(*(partial(use_link, token, NEW) for token in tokens))

    assert {each for each in found if isinstance(each, User)} == {keeper, other}


def test_of_two_who_deactivate_each_other_one_stays():
    keeper, other = make_keepers()
    seen = {user: digest_state(user) for user in (keeper, other)}

    found = do_at_once(
        partial(set_active, other, active=False, by=keeper, seen=seen[other]),
        partial(set_active, keeper, active=False, by=other, seen=seen[keeper]),
    )

    assert sum(isinstance(each, PermissionDenied) for each in found) == 1
    assert User.objects.filter(is_active=True).count() == 1


def test_one_mail_address_is_invited_once():
    keeper, other = make_keepers()

    found = do_at_once(
        *(
            partial(
                invite,
                name="Pau",
                mail=mail,
                role=role("Viewer"),
                by=by,
                make_address=lambda token: token,
            )
            for by, mail in ((keeper, "pau@example.test"), (other, "PAU@example.test"))
        )
    )

    assert sum(isinstance(each, NotDoneError) for each in found) == 1
    assert User.objects.filter(email__iexact="pau@example.test").count() == 1
    assert PasswordLink.objects.count() == 1


def test_a_link_that_is_used_while_its_person_is_deactivated_lets_nobody_in():
    keeper, other = make_keepers()
    token, seen = give_token(other, keeper), digest_state(other)

    found = do_at_once(
        partial(use_link, token, NEW),
        partial(set_active, other, active=False, by=keeper, seen=seen),
    )

    other.refresh_from_db()
    used, deactivated = found
    assert isinstance(used, User | VoidLinkError)
    # The page was about somebody without a password: by then it may be out of date.
    assert deactivated is None or isinstance(deactivated, NotDoneError)
    assert other.is_active == isinstance(deactivated, NotDoneError)
    assert not PasswordLink.objects.exists()
