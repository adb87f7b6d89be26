"""Has every `migrate` install the triggers that count writes, and print the grants that NOVA's reader lacks."""

from django.apps import AppConfig
from django.db.models.signals import post_migrate, pre_migrate
from django.utils.translation import gettext_lazy as _


class CredentialsConfig(AppConfig):
    """The app of NOVA's credential tables."""

    name = "credentials"
    verbose_name = _("Credentials")

    def ready(self) -> None:
        from credentials.grants import print_grants_reader_lacks
        from credentials.triggers import install_triggers, require_rights_to_make_tables

        # After every `migrate`, not once in a schema migration: a step that lacked a grant is tried again.
        post_migrate.connect(
            install_triggers, sender=self, dispatch_uid="credentials.install_triggers"
        )
        post_migrate.connect(
            print_grants_reader_lacks,
            sender=self,
            dispatch_uid="credentials.print_grants_reader_lacks",
        )
        pre_migrate.connect(
            require_rights_to_make_tables,
            sender=self,
            dispatch_uid="credentials.require_rights_to_make_tables",
        )
