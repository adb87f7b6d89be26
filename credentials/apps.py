"""Has every `migrate` install the triggers that count writes."""

from django.apps import AppConfig
from django.db.models.signals import post_migrate, pre_migrate
from django.utils.translation import gettext_lazy as _


class CredentialsConfig(AppConfig):
    """The app of NOVA's credential tables."""

    name = "credentials"
    verbose_name = _("Credentials")

    def ready(self) -> None:
        from credentials.triggers import check_rights, install_triggers

        # After every `migrate`, not once in a schema migration: a step that lacked a grant is tried again.
        post_migrate.connect(
            install_triggers, sender=self, dispatch_uid="credentials.install_triggers"
        )
        pre_migrate.connect(check_rights, sender=self, dispatch_uid="credentials.check_rights")
