"""`make_settings`: prints what has to be set before the site can start, with new keys."""

from __future__ import annotations

from django.core.management.base import BaseCommand

from nova_admin.env_file import make_must_part


class Command(BaseCommand):
    help = (
        "Prints the first part of .env.example, which has to be set, with new keys. It needs no setting: (umask 077;"
        " /srv/nova-admin/nova-admin make_settings > /etc/nova-admin.env). Exits with 0."
    )
    requires_system_checks = ()

    def handle(self, *args: object, **options: object) -> None:
        self.stdout.write(make_must_part(), ending="")
