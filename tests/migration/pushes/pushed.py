"""One client's push, and what is stored after it."""

import json

from credentials.models import Client
from migration.operations.pushes import push


def push_one(pk: int, **options):
    (result,) = push(client_ids=[pk], **options)
    return result


def stored(sm, slug: str):
    return json.loads(sm.get_value(f"nova/clients/{slug}").text)


def revision(pk: int):
    row = Client.objects.with_revision().get(pk=pk)
    return row.revision, row.pushed_revision
