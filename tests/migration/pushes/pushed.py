"""One client's push, and what is stored after it."""

import json

from credentials.models import Client
from migration.models import Secret
from migration.pushes.pushes import push
from migration.secrets.adoptions import adopt_secrets, list_foreign_secrets


def push_one(pk: int, **options):
    (result,) = push(client_ids=[pk], **options)
    return result


def adopt(pk: int, **options):
    """Adopt, as they are now, the secrets under the client's names that are somebody else's."""
    (foreign,) = list_foreign_secrets([pk], interactive=True, **options)
    return adopt_secrets(client_id=pk, seen=foreign.versions, reason="INC-42", **options)


def make_own_secret(sm, name: str, text: str, pk: int) -> str:
    """Make a secret that a push of the client has met, with a version of somebody else; return its id."""
    made = sm.create_secret(name, text, slug="idom")
    Secret.objects.record([Secret(name=name, arn=made.arn, version_id="of a push", client_id=pk)])
    return made.version_id


def make_anew(sm, name: str) -> None:
    """Delete the secret and make it anew, with all that it held and all its tags, as somebody else can."""
    text, tags = sm.get_value(name).text, sm.describe_secret(name).tags
    sm.sm.delete_secret(SecretId=name, ForceDeleteWithoutRecovery=True)
    sm.create_secret(name, text, slug=tags["Client"])


def stored(sm, slug: str):
    return json.loads(sm.get_value(f"nova/clients/{slug}").text)


def revision(pk: int):
    row = Client.objects.with_revision().get(pk=pk)
    return row.revision, row.pushed_revision
