"""Clients in each phase, as their moves leave them."""

from django.db import connection

from migration.models import ClientMigration
from migration.pushes.pushes import push
from nova_credentials.phases import Phase

SECRETS = {
    "public.client_database_credentials": "db_password_encrypted",
    "public.client_email_credentials": "email_password_encrypted",
    "nova_admin.client_aws_credentials": "secret_access_key",
}


def stand(pk: int, phase: Phase) -> None:
    ClientMigration.objects.update_or_create(client_id=pk, defaults={"phase": phase})


def bring(pk: int, phase: Phase) -> None:
    """Takes a client to a phase as its moves do: pushed from `dual_write` on, pointers from the purge on."""
    if phase != Phase.POSTGRES:
        # From the cutover on no push would create the secret.
        stand(pk, Phase.DUAL_WRITE)
        (pushed,) = push(client_ids=[pk])
        assert pushed.outcome in {"created", "unchanged", "updated", "restored"}, pushed.message
    if phase == Phase.PURGED:
        with connection.cursor() as cursor:
            for table, column in SECRETS.items():
                pointer = (
                    f"UPDATE {table} SET {column} = 'aws-secretsmanager:x' WHERE client_id = %s"
                )
                cursor.execute(pointer, [pk])
    stand(pk, phase)
