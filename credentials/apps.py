"""The credential tables, their forms and triggers. Knows no phase."""

from django.apps import AppConfig
from django.db.models.signals import post_migrate, pre_migrate
from django.utils.translation import gettext_lazy as _


class CredentialsConfig(AppConfig):
    name = "credentials"
    verbose_name = _("Credentials")

    def ready(self) -> None:
        from credentials.triggers import check_rights, install_triggers

        # After every `migrate`, not in a schema migration: what a missing grant forbade today is done by the next one.
        post_migrate.connect(
            install_triggers, sender=self, dispatch_uid="credentials.install_triggers"
        )
        pre_migrate.connect(check_rights, sender=self, dispatch_uid="credentials.check_rights")
