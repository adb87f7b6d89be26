"""The schema migration that gives each client the layout of the secrets that it has."""

from importlib import import_module
from types import SimpleNamespace

import pytest
from django.db import connection

from migration.models import ClientMigration, Secret
from tests.factories import make_client

fill_layouts = import_module("migration.migrations.0053_evidence_layouts_and_slugs").fill_layouts


@pytest.mark.django_db
def test_each_client_gets_the_layout_of_its_newest_secret(settings):
    # Names that look like those of the other layout.
    settings.NOVA_SECRET_PREFIX = "nova/aws"
    secrets = {
        "idom": ["nova/aws/idom"],
        "acme": ["nova/aws/acme/database", "nova/aws/acme/aws"],
        "aws": ["nova/aws/aws"],
        "email": ["nova/aws/email/email"],
        "both": ["nova/aws/both/email", "nova/aws/both"],
        "renamed": ["nova/aws/its-name-before"],
        "none": [],
    }
    for slug, names in secrets.items():
        pk = make_client(slug)
        for name in names:  # each later than the one before
            Secret.objects.create(name=name, client_id=pk, arn="", version_id="")
    gone = Secret.objects.create(name="nova/aws/gone", client_id=2**31 - 1, arn="", version_id="")
    assert gone
    ClientMigration.objects.create(client_id=pk, phase="dual_write")

    fill_layouts(None, SimpleNamespace(connection=connection))

    rows = ClientMigration.objects.values_list("client__slug", "layout", "phase")
    assert {slug: (layout, phase) for slug, layout, phase in rows} == {
        "idom": ("client", "postgres"),
        "acme": ("service", "postgres"),
        "aws": ("client", "postgres"),
        "email": ("service", "postgres"),
        "both": ("client", "postgres"),
        "none": (None, "dual_write"),
    }
