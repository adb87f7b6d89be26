"""What a superuser writes to hide an entry, to have the site seal the rest anew, or to keep anybody from looking."""

import pytest

from migration.core.audit_chain import seal_audit
from migration.models import AuditEvent, AuditLink
from migration.site import audit
from migration.site.audit import AuditFault
from tests.factories import make_user
from tests.migration.site.audit.conftest import write_entries
from tests.migration.site.audit.test_verification import AT, copy_entry, faults

EVENTS, LINKS, _ = audit.TABLES


@pytest.mark.parametrize("position", [0, -(1 << 63)])
def test_an_added_entry_is_found_although_it_has_a_link_before_the_chain(chain, position):
    added = copy_entry(chain.position)
    added.save(force_insert=True)
    AuditLink.objects.create(position=position, event_id=added.pk, key="", signature="a" * 64)

    assert faults(kept_head=chain) == {AuditFault.ADDED: 1}


def test_entries_that_the_site_sealed_anew_without_one_show_against_a_kept_head(
    chain, as_superuser
):
    at = chain.position - 2
    as_superuser(f"DELETE FROM {EVENTS} WHERE id = {AT}", at)
    as_superuser(f"DELETE FROM {LINKS} WHERE position >= %s", at)
    write_entries(2)

    assert seal_audit(from_beginning=True).position == chain.position + 1
    assert faults() == {}
    assert faults(kept_head=chain) == {AuditFault.CUT_OFF: 1}


def test_an_entry_that_nobody_could_have_signed_keeps_nobody_from_sealing_and_reading(
    chain, admin_client
):
    added = copy_entry(chain.position)
    added.signature, added.facts = "é" * 64, "[" * 200_000
    added.save(force_insert=True)
    (later,) = write_entries(1)
    seal_audit()

    assert AuditLink.objects.filter(event_id=later.pk).exists()
    assert faults() == {AuditFault.ADDED: 1}
    assert admin_client.get("/admin/migration/auditevent/").status_code == 200
    page = admin_client.get(f"/admin/migration/auditevent/{added.pk}/change/")
    assert page.status_code == 200


def test_a_page_of_a_number_that_no_client_has_is_refused_and_recorded(db, client):
    client.force_login(make_user("vera", "credentials.view_client"))

    assert client.post("/admin/credentials/client/99999999999/compare/").status_code == 403
    assert AuditEvent.objects.filter(code="refusal", client_id=None, who="vera").exists()


def test_who_is_locked_out_fills_no_table(db, client):
    codes = [
        client.post("/admin/login/", {"username": "nobody", "password": "x"}).status_code
        for _ in range(8)
    ]

    assert codes.count(429) > 2
    assert AuditEvent.objects.filter(code="login_refused").count() == 1
