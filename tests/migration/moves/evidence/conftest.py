"""Clients whose gates want what production wants, and NOVA's reader of them."""

import pytest

from migration.pushes.comparisons import compare
from nova_credentials.phases import Phase
from nova_credentials.reader.routing import Reader
from tests.factories import give_evidence, make_full_client, nova_uri
from tests.migration.moves.clients import enter_phase


@pytest.fixture(autouse=True)
def copies_are_not_looked_for() -> None:
    """They are, here."""


@pytest.fixture(autouse=True)
def wanted(settings) -> None:
    """The defaults of the settings; the other tests have these switched off."""
    settings.NOVA_CLEAN_STREAK = 3
    settings.NOVA_DUAL_READ_HOURS = 24.0
    settings.NOVA_PURGE_AFTER_DAYS = 7.0
    settings.NOVA_MIN_READS = 20


@pytest.fixture
def idom(stores) -> int:
    """A client that has just entered dual read."""
    pk = make_full_client("idom")
    enter_phase(pk, Phase.DUAL_READ)
    return pk


@pytest.fixture
def proven(idom) -> int:
    """One that has all evidence for its cutover."""
    compare(client_ids=[idom])
    give_evidence(idom)
    return idom


@pytest.fixture
def reader(stores):
    """NOVA's, which asks the stores at every read."""
    reader = Reader(nova_uri(), timeout=30, cache_seconds=0)
    yield reader
    reader.close()
