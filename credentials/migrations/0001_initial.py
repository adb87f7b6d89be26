"""NOVA's tables where they are missing, this app's beside them. A table that is there stays as it is."""

import django.db.models.deletion
import django.utils.timezone
from django.db import migrations, models

import credentials.models.credentials

# Not IF NOT EXISTS: that asks for the right to create in `public` even where the table is there.
WHERE_MISSING = """
DO $$ BEGIN IF to_regclass('{table}') IS NULL THEN {statement}; END IF; END $$
"""
# As NOVA's own statements make them, so that NOVA's SQL runs unchanged on an empty database too.
CLIENTS = """
CREATE TABLE public.clients (
    id SERIAL PRIMARY KEY,
    name VARCHAR(255) NOT NULL,
    slug VARCHAR(100) NOT NULL UNIQUE,
    description TEXT,
    is_active BOOLEAN DEFAULT TRUE,
    created_at TIMESTAMP NOT NULL DEFAULT now(),
    updated_at TIMESTAMP NOT NULL DEFAULT now()
)
"""
DATABASES = """
CREATE TABLE public.client_database_credentials (
    id SERIAL PRIMARY KEY,
    client_id INTEGER NOT NULL REFERENCES public.clients(id) ON DELETE CASCADE,
    db_host VARCHAR(255) NOT NULL,
    db_port INTEGER NOT NULL DEFAULT 5432,
    db_name VARCHAR(255) NOT NULL,
    db_user VARCHAR(255) NOT NULL,
    db_password_encrypted TEXT NOT NULL,
    label VARCHAR(100),
    is_primary BOOLEAN DEFAULT TRUE,
    created_at TIMESTAMP NOT NULL DEFAULT now(),
    updated_at TIMESTAMP NOT NULL DEFAULT now()
)
"""
EMAILS = """
CREATE TABLE public.client_email_credentials (
    id SERIAL PRIMARY KEY,
    client_id INTEGER NOT NULL REFERENCES public.clients(id) ON DELETE CASCADE,
    email_provider VARCHAR(50) DEFAULT 'gmail',
    imap_host VARCHAR(255) DEFAULT 'imap.gmail.com',
    imap_port INTEGER DEFAULT 993,
    smtp_host VARCHAR(255) DEFAULT 'smtp.gmail.com',
    smtp_port INTEGER DEFAULT 587,
    email_user VARCHAR(255) NOT NULL,
    email_password_encrypted TEXT NOT NULL,
    sender_whitelist TEXT,
    label VARCHAR(100),
    is_primary BOOLEAN DEFAULT TRUE,
    created_at TIMESTAMP NOT NULL DEFAULT now(),
    updated_at TIMESTAMP NOT NULL DEFAULT now()
)
"""
# The foreign key comes with `triggers.py`: the app's role may lack the right to refer to NOVA's table.
AWS_LOGINS = """
CREATE TABLE IF NOT EXISTS client_aws_credentials (
    id SERIAL PRIMARY KEY,
    client_id INTEGER NOT NULL,
    access_key_id VARCHAR(255) NOT NULL,
    secret_access_key TEXT NOT NULL,
    region VARCHAR(50) DEFAULT 'us-east-1',
    label VARCHAR(100),
    is_primary BOOLEAN DEFAULT TRUE,
    created_at TIMESTAMP NOT NULL DEFAULT now(),
    updated_at TIMESTAMP NOT NULL DEFAULT now()
);
CREATE INDEX IF NOT EXISTS client_aws_credentials_client_id ON client_aws_credentials (client_id)
"""

# With the function go its triggers, which would warn at each of NOVA's writes that they can't count it.
FORGET_WRITES = """
DROP FUNCTION IF EXISTS nova_admin.count_write() CASCADE;
DROP FUNCTION IF EXISTS nova_admin.writes_are_counted()
"""


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        # Never undone: a schema migration back leaves NOVA's rows where they are.
        *(
            migrations.RunSQL(
                WHERE_MISSING.format(table=table, statement=statement), migrations.RunSQL.noop
            )
            for table, statement in (
                ("public.clients", CLIENTS),
                ("public.client_database_credentials", DATABASES),
                ("public.client_email_credentials", EMAILS),
            )
        ),
        migrations.RunSQL(AWS_LOGINS, migrations.RunSQL.noop),
        migrations.CreateModel(
            name="AwsCredential",
            fields=[
                ("id", models.AutoField(primary_key=True, serialize=False)),
                (
                    "label",
                    models.CharField(blank=True, max_length=100, null=True, verbose_name="label"),
                ),
                (
                    "is_primary",
                    models.BooleanField(
                        default=True,
                        help_text="NOVA uses the primary login when it asks for no label.",
                        null=True,
                        verbose_name="primary",
                    ),
                ),
                (
                    "created_at",
                    credentials.models.credentials.NaiveUTCDateTimeField(
                        default=django.utils.timezone.now, editable=False, verbose_name="created"
                    ),
                ),
                (
                    "updated_at",
                    credentials.models.credentials.NaiveUTCDateTimeField(
                        default=django.utils.timezone.now, editable=False, verbose_name="updated"
                    ),
                ),
                ("access_key_id", models.CharField(max_length=255, verbose_name="access key id")),
                ("secret_access_key", models.TextField(verbose_name="secret access key")),
                (
                    "region",
                    models.CharField(
                        blank=True,
                        default="us-east-1",
                        max_length=50,
                        null=True,
                        verbose_name="region",
                    ),
                ),
            ],
            options={
                "verbose_name": "AWS login",
                "verbose_name_plural": "AWS logins",
                "db_table": "client_aws_credentials",
                "ordering": ["id"],
                "abstract": False,
                "managed": False,
            },
        ),
        migrations.CreateModel(
            name="Client",
            fields=[
                ("id", models.AutoField(primary_key=True, serialize=False)),
                ("name", models.CharField(max_length=255, verbose_name="name")),
                ("slug", models.CharField(max_length=100, unique=True, verbose_name="slug")),
                (
                    "description",
                    models.TextField(blank=True, null=True, verbose_name="description"),
                ),
                ("is_active", models.BooleanField(default=True, null=True, verbose_name="active")),
                (
                    "created_at",
                    credentials.models.credentials.NaiveUTCDateTimeField(
                        default=django.utils.timezone.now, editable=False, verbose_name="created"
                    ),
                ),
                (
                    "updated_at",
                    credentials.models.credentials.NaiveUTCDateTimeField(
                        default=django.utils.timezone.now, editable=False, verbose_name="updated"
                    ),
                ),
            ],
            options={
                "verbose_name": "client",
                "verbose_name_plural": "clients",
                "db_table": '"public"."clients"',
                "ordering": ["name", "id"],
                "managed": False,
            },
        ),
        migrations.CreateModel(
            name="DatabaseCredential",
            fields=[
                ("id", models.AutoField(primary_key=True, serialize=False)),
                (
                    "label",
                    models.CharField(blank=True, max_length=100, null=True, verbose_name="label"),
                ),
                (
                    "is_primary",
                    models.BooleanField(
                        default=True,
                        help_text="NOVA uses the primary login when it asks for no label.",
                        null=True,
                        verbose_name="primary",
                    ),
                ),
                (
                    "created_at",
                    credentials.models.credentials.NaiveUTCDateTimeField(
                        default=django.utils.timezone.now, editable=False, verbose_name="created"
                    ),
                ),
                (
                    "updated_at",
                    credentials.models.credentials.NaiveUTCDateTimeField(
                        default=django.utils.timezone.now, editable=False, verbose_name="updated"
                    ),
                ),
                ("db_host", models.CharField(max_length=255, verbose_name="host")),
                ("db_port", models.IntegerField(default=5432, verbose_name="port")),
                ("db_name", models.CharField(max_length=255, verbose_name="database")),
                ("db_user", models.CharField(max_length=255, verbose_name="user")),
                (
                    "db_password",
                    models.TextField(db_column="db_password_encrypted", verbose_name="password"),
                ),
            ],
            options={
                "verbose_name": "database login",
                "verbose_name_plural": "database logins",
                "db_table": '"public"."client_database_credentials"',
                "ordering": ["id"],
                "abstract": False,
                "managed": False,
            },
        ),
        migrations.CreateModel(
            name="EmailCredential",
            fields=[
                ("id", models.AutoField(primary_key=True, serialize=False)),
                (
                    "label",
                    models.CharField(blank=True, max_length=100, null=True, verbose_name="label"),
                ),
                (
                    "is_primary",
                    models.BooleanField(
                        default=True,
                        help_text="NOVA uses the primary login when it asks for no label.",
                        null=True,
                        verbose_name="primary",
                    ),
                ),
                (
                    "created_at",
                    credentials.models.credentials.NaiveUTCDateTimeField(
                        default=django.utils.timezone.now, editable=False, verbose_name="created"
                    ),
                ),
                (
                    "updated_at",
                    credentials.models.credentials.NaiveUTCDateTimeField(
                        default=django.utils.timezone.now, editable=False, verbose_name="updated"
                    ),
                ),
                (
                    "email_provider",
                    models.CharField(
                        blank=True,
                        default="gmail",
                        max_length=50,
                        null=True,
                        verbose_name="provider",
                    ),
                ),
                (
                    "imap_host",
                    models.CharField(
                        blank=True,
                        default="imap.gmail.com",
                        max_length=255,
                        null=True,
                        verbose_name="IMAP host",
                    ),
                ),
                (
                    "imap_port",
                    models.IntegerField(
                        blank=True, default=993, null=True, verbose_name="IMAP port"
                    ),
                ),
                (
                    "smtp_host",
                    models.CharField(
                        blank=True,
                        default="smtp.gmail.com",
                        max_length=255,
                        null=True,
                        verbose_name="SMTP host",
                    ),
                ),
                (
                    "smtp_port",
                    models.IntegerField(
                        blank=True, default=587, null=True, verbose_name="SMTP port"
                    ),
                ),
                ("email_user", models.CharField(max_length=255, verbose_name="user")),
                (
                    "email_password",
                    models.TextField(db_column="email_password_encrypted", verbose_name="password"),
                ),
                (
                    "sender_whitelist",
                    models.TextField(
                        blank=True,
                        help_text="Addresses, separated by commas.",
                        null=True,
                        verbose_name="sender whitelist",
                    ),
                ),
            ],
            options={
                "verbose_name": "mail login",
                "verbose_name_plural": "mail logins",
                "db_table": '"public"."client_email_credentials"',
                "ordering": ["id"],
                "abstract": False,
                "managed": False,
            },
        ),
        migrations.CreateModel(
            name="ClientWrite",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("client_id", models.IntegerField(db_index=True)),
            ],
        ),
        migrations.CreateModel(
            name="ClientRevision",
            fields=[
                (
                    "client",
                    models.OneToOneField(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        primary_key=True,
                        related_name="client_revision",
                        serialize=False,
                        to="credentials.client",
                    ),
                ),
                ("revision", models.BigIntegerField(db_default=0, default=0)),
                ("pushed_revision", models.BigIntegerField(null=True)),
            ],
        ),
        # The last here is the first that is undone. `triggers.py` makes the functions after each `migrate`.
        migrations.RunSQL(migrations.RunSQL.noop, FORGET_WRITES),
    ]
