"""Where the values come from that are looked for, and which of them count as those that AWS holds."""

import json
from datetime import timedelta

from django.utils import timezone

from migration.models import CopySearch
from migration.secrets import copies
from migration.secrets.copies import gather_values_and_note_purged, search_copies
from migration.secrets.redaction import plan_redaction
from nova_credentials.phases import Phase
from tests.factories import make_full_client
from tests.migration.moves.clients import NAME, enter_phase


def test_a_secret_of_the_other_layout_that_was_left_there_is_looked_for_and_not_pointed_to(
    stores, sm, settings
):
    settings.NOVA_SECRET_LAYOUT = "service"
    idom = make_full_client("idom")
    enter_phase(idom, Phase.AWS)
    left = {"client_name": "IDOM", "database": {"password": "example-older-password"}}
    sm.create_secret(NAME, json.dumps(left), token="1" * 32, slug="idom")

    (found,) = gather_values_and_note_purged([idom], sm=sm)

    assert "example-older-password" in found.values
    plan = plan_redaction(client_ids=[idom], columns=[])
    assert "example-older-password" not in plan.replacements
    assert plan.replacements["example-password-1"].startswith(
        f"aws-secretsmanager:{NAME}/database "
    )


def test_a_search_shows_that_it_lives_while_it_asks_aws(nova, monkeypatch):
    clients = [make_full_client(f"client-{n}") for n in range(3)]
    monkeypatch.setattr(copies, "CLIENTS_AT_ONCE", 1)
    seen = []

    def gather(ids, *, sm, tell):
        def tell_and_look():
            long_ago = timezone.now() - timedelta(hours=1)
            CopySearch.objects.update(seen_at=long_ago)
            tell()
            seen.append(CopySearch.objects.get().is_silent)

        return gather_values_and_note_purged(ids, sm=sm, tell=tell_and_look)

    monkeypatch.setattr(copies, "gather_values_and_note_purged", gather)

    search_copies(client_ids=clients)

    assert seen == [False] * 3
