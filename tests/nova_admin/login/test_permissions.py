"""A user of a session comes with what the user may do: as Django says it, without a query more."""

import pytest
from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.models import Group, Permission

from nova_admin.login.permissions import PermissionBackend
from tests.factories import make_user

BACKEND = PermissionBackend()


@pytest.fixture
def user(db):
    user = make_user("ana")
    user.groups.set(Group.objects.filter(name__in=["Viewer", "Operator"]))
    user.user_permissions.add(Permission.objects.get(codename="view_user"))
    return user


def test_permissions_are_those_that_django_finds(user, django_assert_num_queries):
    found = BACKEND.get_user(user.pk)

    with django_assert_num_queries(0):
        granted = BACKEND.get_all_permissions(found)
        assert found.has_perms(["auth.view_user", "migration.view_run"])
        assert not found.has_perm("auth.delete_user")
        assert found.has_module_perms("migration")
    assert granted == ModelBackend().get_all_permissions(user)
    assert len(granted) > 10


def test_another_user_has_none_of_them(user):
    other = make_user("eva")

    assert BACKEND.get_user(other.pk).get_all_permissions() == set()


def test_what_is_taken_away_is_gone_with_the_next_request(user):
    user.groups.clear()

    assert BACKEND.get_user(user.pk).get_all_permissions() == {"auth.view_user"}


def test_an_object_has_no_permissions_of_its_own(user):
    found = BACKEND.get_user(user.pk)

    assert not found.has_perm("auth.view_user", user)


def test_who_is_inactive_is_nobody_and_may_do_nothing(user):
    found = BACKEND.get_user(user.pk)
    found.is_active = False
    type(user).objects.update(is_active=False)

    assert BACKEND.get_all_permissions(found) == set()
    assert BACKEND.get_user(user.pk) is None


def test_a_superuser_may_do_everything(user):
    type(user).objects.update(is_superuser=True)
    found = BACKEND.get_user(user.pk)

    assert found.has_perm("auth.delete_user")
    assert len(found.get_all_permissions()) == Permission.objects.count()


def test_who_does_not_exist_is_nobody(db):
    assert BACKEND.get_user(0) is None
