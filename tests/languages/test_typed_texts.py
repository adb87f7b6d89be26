"""What somebody typed stays as it is."""

import time

import pytest
from django.contrib.auth.models import User
from django.urls import reverse

from migration.core.clients import MOVE_EVENT
from migration.models import AuditEvent, PhaseChange, Resolution
from migration.pushes.resolutions import record_resolution
from nova_credentials.messages import Message
from nova_credentials.phases import Phase
from tests.factories import make_comparison, make_full_client, request_run
from tests.languages.spanish import SPANISH
from tests.migration.acts import act_page
from tests.migration.moves.clients import enter_phase, phase_of
from tests.migration.pages import DIFFERENT, text

# Sentences of ours, alone, in a row, and after other words: none of them may be taken for one.
TYPED = [
    "Customer asked for it. Inactive.",
    "As agreed by phone with ops (asked for by the CFO)",
    "Migration 12",
    "No credentials.",
    "Match",
]


@pytest.mark.parametrize("typed", TYPED)
def test_what_somebody_typed_stays_as_it_is_on_every_page(stores, root, client, typed):
    pk = make_full_client("idom")
    enter_phase(pk, Phase.DUAL_WRITE)
    sent = {"confirmed": "1", "clients": f"{pk}:dual_write", "reason": typed}
    assert client.post(act_page("back_to_postgres", pk), sent, **SPANISH).status_code == 302
    user = User.objects.get(username="root")
    make_comparison(pk, "mismatch", slug="idom", mismatches=[DIFFERENT])
    record_resolution(pk, Resolution.Kind.TO_AWS, user, typed, None)
    asked = request_run(pk, by=user, reason=typed)
    asked.record_start(user)

    assert PhaseChange.objects.first().reason == typed
    url = reverse("admin:credentials_client_change", args=[pk])
    page = text(client.get(url, {"tab": "history"}, **SPANISH))
    assert page.count(f"Motivo {typed}") == 3
    shown = client.get(reverse("admin:migration_run_change", args=[asked.pk]), **SPANISH)
    assert typed in text(shown)


def test_a_long_reason_of_repeated_sentences_is_refused_and_an_old_one_costs_nothing(
    stores, root, client
):
    """Of 300 of them the page failed for everybody who reads Spanish, and 60 kB took it 20 seconds."""
    pk = make_full_client("idom")
    typed = "Inactive. No credentials. " * 300
    enter_phase(pk, Phase.DUAL_WRITE)
    sent = {"confirmed": "1", "clients": f"{pk}:dual_write", "reason": typed}
    refused = client.post(act_page("back_to_postgres", pk), sent, follow=True, **SPANISH)
    assert "No se ha hecho nada: el motivo tiene 7" in text(refused)
    assert phase_of(pk) == Phase.DUAL_WRITE

    for old in (typed, "Its secret is to be deleted. " * 2_100):
        facts = Message.from_text_without_key(old)
        AuditEvent.objects.record(MOVE_EVENT, facts, client_id=pk, slug="idom")
        began = time.perf_counter()
        url = reverse("admin:credentials_client_change", args=[pk])
        page = client.get(url, {"tab": "history"}, **SPANISH)
        assert page.status_code == 200
        assert f'<span lang="en">{old}</span>' in page.content.decode()
        assert client.get("/admin/", **SPANISH).status_code == 200
        assert time.perf_counter() - began < 10
