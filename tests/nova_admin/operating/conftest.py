"""A site that is asked by machines."""

import secrets
from collections.abc import Iterator

import pytest

from nova_admin import operating
from nova_admin.operating import ReadinessBook

TOKEN = secrets.token_urlsafe(64)


@pytest.fixture
def scrape(client, settings):
    """Asks /metrics with the token; gives the text."""
    settings.NOVA_METRICS_TOKEN = TOKEN

    def ask() -> str:
        answer = client.get("/metrics", headers={"authorization": f"Bearer {TOKEN}"})
        assert answer.status_code == 200, answer.content
        assert answer["Content-Type"].startswith("text/plain; version=0.0.4")
        return answer.content.decode()

    return ask


@pytest.fixture
def readiness(monkeypatch) -> Iterator[ReadinessBook]:
    """What a process that has just begun knows: nothing."""
    book = ReadinessBook()
    monkeypatch.setattr(operating, "readiness_book", book)
    yield book
    # What a test let hang goes on with the next part, and must not meet the next test.
    for thread in book._looking.values():
        thread.join(10)
