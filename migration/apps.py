"""Moving clients from one store to the other."""

from django.apps import AppConfig
from django.db.models.signals import post_migrate
from django.utils.translation import gettext_lazy as _


class MigrationConfig(AppConfig):
    name = "migration"
    verbose_name = _("Migration")

    def ready(self) -> None:
        from django_q.signals import post_spawn

        from migration import checks  # noqa: F401  # registers them
        from migration.operations.keys import make_version_keys
        from migration.roles import ensure_roles
        from migration.tasks import ensure_schedules, start_heartbeat

        post_migrate.connect(
            ensure_schedules, sender=self, dispatch_uid="migration.ensure_schedules"
        )
        post_spawn.connect(start_heartbeat, dispatch_uid="migration.start_heartbeat")
        post_migrate.connect(
            make_version_keys, sender=self, dispatch_uid="migration.make_version_keys"
        )
        # After Django's own receiver, which makes the permissions.
        post_migrate.connect(ensure_roles, sender=self, dispatch_uid="migration.ensure_roles")
