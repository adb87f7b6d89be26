"""The certificate prints on one sheet, and fits a telephone."""

import re

import pytest

from migration.operations.gates import Override
from migration.operations.moves import move
from nova_credentials.phases import Phase
from tests.browser.axe import violations
from tests.factories import make_full_client, make_user
from tests.migration.moves.clients import advance

pytestmark = pytest.mark.browser


def test_it_prints_on_one_sheet_and_fits_a_telephone(visit, stores, settings):
    maria = make_user("maria", "migration.override_gate")
    pk = make_full_client("idom")
    advance(pk, Phase.DUAL_READ)
    settings.NOVA_MIN_READS, settings.NOVA_CLEAN_STREAK = 20, 3
    override = Override("A reason of several words " * 15, maria)
    move(client_id=pk, new=Phase.AWS, by=maria, reason="INC-42 " * 50, override=override)
    page = visit(f"/admin/credentials/client/{pk}/change/", viewport={"width": 390, "height": 844})
    page.get_by_role("link", name="Cutover certificate").click()
    page.get_by_role("button", name="Make the certificate").click()
    with page.expect_download() as download:
        page.get_by_role("button", name="Download as JSON").click()

    assert download.value.suggested_filename == "certificate-idom.json"
    assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.emulate_media(media="print")
    assert len(re.findall(rb"/Type\s*/Page\b", page.pdf(prefer_css_page_size=True))) == 1
