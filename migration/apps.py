"""Moving clients from one store to the other."""

from django.apps import AppConfig
from django.db.models.signals import post_migrate
from django.utils.translation import gettext_lazy as _


class MigrationConfig(AppConfig):
    name = "migration"
    verbose_name = _("Migration")

    def ready(self) -> None:
        from migration.roles import ensure_roles
        from migration.tasks import ensure_schedules

        post_migrate.connect(
            ensure_schedules, sender=self, dispatch_uid="migration.ensure_schedules"
        )
        # After Django's own receiver, which makes the permissions.
        post_migrate.connect(ensure_roles, sender=self, dispatch_uid="migration.ensure_roles")
