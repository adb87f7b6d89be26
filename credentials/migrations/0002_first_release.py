"""NOVA's tables where they are missing, this app's beside them. A table that is there stays as it is."""

from django.db import migrations, models
from django.db.models.functions import Now
from django.utils import timezone

from credentials.models.credentials import NaiveUTCDateTimeField

ID = models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")

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

    replaces = [("credentials", "0001_initial"), ("credentials", "0002_written_at")]

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
            "AwsCredential",
            [
                ("id", models.AutoField(primary_key=True, serialize=False)),
                ("label", models.CharField("label", max_length=100, null=True, blank=True)),
                (
                    "is_primary",
                    models.BooleanField(
                        "primary",
                        null=True,
                        default=True,
                        help_text="NOVA uses the primary login when it asks for no label.",
                    ),
                ),
                (
                    "created_at",
                    NaiveUTCDateTimeField("created", default=timezone.now, editable=False),
                ),
                (
                    "updated_at",
                    NaiveUTCDateTimeField("updated", default=timezone.now, editable=False),
                ),
                ("access_key_id", models.CharField("access key id", max_length=255)),
                ("secret_access_key", models.TextField("secret access key")),
                (
                    "region",
                    models.CharField(
                        "region", max_length=50, null=True, default="us-east-1", blank=True
                    ),
                ),
            ],
            {
                "verbose_name": "AWS login",
                "verbose_name_plural": "AWS logins",
                "db_table": "client_aws_credentials",
                "managed": False,
                "ordering": ["id"],
            },
        ),
        migrations.CreateModel(
            "Client",
            [
                ("id", models.AutoField(primary_key=True, serialize=False)),
                ("name", models.CharField("name", max_length=255)),
                ("slug", models.CharField("slug", max_length=100, unique=True)),
                ("description", models.TextField("description", null=True, blank=True)),
                ("is_active", models.BooleanField("active", null=True, default=True)),
                (
                    "created_at",
                    NaiveUTCDateTimeField("created", default=timezone.now, editable=False),
                ),
                (
                    "updated_at",
                    NaiveUTCDateTimeField("updated", default=timezone.now, editable=False),
                ),
            ],
            {
                "verbose_name": "client",
                "verbose_name_plural": "clients",
                "db_table": '"public"."clients"',
                "managed": False,
                "ordering": ["name", "id"],
            },
        ),
        migrations.CreateModel(
            "DatabaseCredential",
            [
                ("id", models.AutoField(primary_key=True, serialize=False)),
                ("label", models.CharField("label", max_length=100, null=True, blank=True)),
                (
                    "is_primary",
                    models.BooleanField(
                        "primary",
                        null=True,
                        default=True,
                        help_text="NOVA uses the primary login when it asks for no label.",
                    ),
                ),
                (
                    "created_at",
                    NaiveUTCDateTimeField("created", default=timezone.now, editable=False),
                ),
                (
                    "updated_at",
                    NaiveUTCDateTimeField("updated", default=timezone.now, editable=False),
                ),
                ("db_host", models.CharField("host", max_length=255)),
                ("db_port", models.IntegerField("port", default=5432)),
                ("db_name", models.CharField("database", max_length=255)),
                ("db_user", models.CharField("user", max_length=255)),
                ("db_password", models.TextField("password", db_column="db_password_encrypted")),
            ],
            {
                "verbose_name": "database login",
                "verbose_name_plural": "database logins",
                "db_table": '"public"."client_database_credentials"',
                "managed": False,
                "ordering": ["id"],
            },
        ),
        migrations.CreateModel(
            "EmailCredential",
            [
                ("id", models.AutoField(primary_key=True, serialize=False)),
                ("label", models.CharField("label", max_length=100, null=True, blank=True)),
                (
                    "is_primary",
                    models.BooleanField(
                        "primary",
                        null=True,
                        default=True,
                        help_text="NOVA uses the primary login when it asks for no label.",
                    ),
                ),
                (
                    "created_at",
                    NaiveUTCDateTimeField("created", default=timezone.now, editable=False),
                ),
                (
                    "updated_at",
                    NaiveUTCDateTimeField("updated", default=timezone.now, editable=False),
                ),
                (
                    "email_provider",
                    models.CharField(
                        "provider", max_length=50, null=True, default="gmail", blank=True
                    ),
                ),
                (
                    "imap_host",
                    models.CharField(
                        "IMAP host", max_length=255, null=True, default="imap.gmail.com", blank=True
                    ),
                ),
                ("imap_port", models.IntegerField("IMAP port", null=True, default=993, blank=True)),
                (
                    "smtp_host",
                    models.CharField(
                        "SMTP host", max_length=255, null=True, default="smtp.gmail.com", blank=True
                    ),
                ),
                ("smtp_port", models.IntegerField("SMTP port", null=True, default=587, blank=True)),
                ("email_user", models.CharField("user", max_length=255)),
                (
                    "email_password",
                    models.TextField("password", db_column="email_password_encrypted"),
                ),
                (
                    "sender_whitelist",
                    models.TextField(
                        "sender whitelist",
                        null=True,
                        help_text="Addresses, separated by commas.",
                        blank=True,
                    ),
                ),
            ],
            {
                "verbose_name": "mail login",
                "verbose_name_plural": "mail logins",
                "db_table": '"public"."client_email_credentials"',
                "managed": False,
                "ordering": ["id"],
            },
        ),
        migrations.CreateModel(
            "ClientWrite",
            [
                ("id", ID),
                ("client_id", models.IntegerField(db_index=True)),
                ("written_at", models.DateTimeField(db_default=Now())),
            ],
        ),
        migrations.CreateModel(
            "ClientRevision",
            [
                (
                    "client",
                    models.OneToOneField(
                        "credentials.client",
                        models.DO_NOTHING,
                        primary_key=True,
                        serialize=False,
                        related_name="client_revision",
                        db_constraint=False,
                    ),
                ),
                ("revision", models.BigIntegerField(default=0, db_default=0)),
                ("pushed_revision", models.BigIntegerField(null=True)),
                ("pending_since", models.DateTimeField(null=True)),
            ],
        ),
        # The last here is the first that is undone. `triggers.py` makes the functions after each `migrate`.
        migrations.RunSQL(migrations.RunSQL.noop, FORGET_WRITES),
    ]
