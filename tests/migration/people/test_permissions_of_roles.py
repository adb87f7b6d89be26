"""The permissions that each role has: all that it names are there, and `migrate` gives them once and no more."""

from django.apps import apps
from django.contrib.auth.models import Group, Permission
from django.core.management import call_command

from migration.people.roles import ROLES, ensure_roles, select_named_and_view_permissions

OPERATOR = "Operator"


def test_every_permission_that_a_role_names_is_there(db):
    for role, names in ROLES.items():
        group = Group.objects.get(name=role)
        held = {f"{p.content_type.app_label}.{p.codename}" for p in group.permissions.all()}
        assert names <= held
        assert all(".view_" in name for name in held - names)


def test_an_administrators_changes_to_a_role_outlast_a_migrate(transactional_db):
    operator = Group.objects.get(name=OPERATOR)
    given, taken = (
        Permission.objects.get(codename="delete_run"),
        Permission.objects.get(codename="move_client"),
    )
    operator.permissions.add(given)
    operator.permissions.remove(taken)
    before = set(operator.permissions.all())

    call_command("migrate", verbosity=0)
    call_command("migrate", verbosity=0)

    assert set(operator.permissions.all()) == before


def test_a_role_that_was_deleted_is_made_again_with_its_permissions(transactional_db):
    before = set(Group.objects.get(name=OPERATOR).permissions.values_list("codename", flat=True))
    Group.objects.get(name=OPERATOR).delete()

    call_command("migrate", verbosity=0)

    found = set(Group.objects.get(name=OPERATOR).permissions.values_list("codename", flat=True))
    assert found == before != set()


def test_a_permission_that_appears_later_is_given(db):
    wanted = select_named_and_view_permissions(ROLES[OPERATOR]).get(codename="move_client")
    Permission.objects.filter(pk=wanted.pk).delete()
    ensure_roles(sender=apps.get_app_config("migration"), using="default")
    operator = Group.objects.get(name=OPERATOR)
    assert not operator.permissions.filter(codename="move_client").exists()

    wanted.save(force_insert=True)
    ensure_roles(sender=apps.get_app_config("migration"), using="default")

    assert operator.permissions.filter(codename="move_client").exists()
