"""Somebody with a password, the clock of the codes, and a provider of OpenID Connect on this machine."""

import socket
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
from django.contrib.auth.models import Group, User

from migration.core import outgoing
from migration.core.outgoing import LoginOutcome
from nova_admin.environment import OidcProvider
from nova_admin.login import oidc
from tests.factories import make_user
from tests.nova_admin.login.fake_provider import FakeProvider

PASSWORD = "example-login-password"


@pytest.fixture(autouse=True)
def required(settings) -> None:
    settings.NOVA_REQUIRE_SECOND_FACTOR = True


@pytest.fixture
def at(monkeypatch):
    """Sets the site's clock: for codes alone, as sessions have one too."""
    moment = SimpleNamespace(now=1_800_000_000.0)
    monkeypatch.setattr("time.time", lambda: moment.now)
    return moment


@pytest.fixture
def maria(db) -> User:
    """An Operator."""
    user = make_user("maria", password=PASSWORD, email="maria@example.test")
    user.groups.add(Group.objects.get(name="Operator"))
    return user


@pytest.fixture
def ana(db) -> User:
    """An Administrator who administers users too."""
    user = make_user("ana", password=PASSWORD, email="ana@example.test")
    user.groups.add(*Group.objects.filter(name__in=("Administrator", "User administrator")))
    return user


@pytest.fixture(scope="session")
def running_provider() -> Iterator[FakeProvider]:
    with FakeProvider() as provider:
        yield provider


def find_here(host: str, port: int) -> list[outgoing.ResolvedAddress] | LoginOutcome:
    """Answers for this machine alone."""
    if host != "127.0.0.1":
        return LoginOutcome.NO_SUCH_HOST
    return [outgoing.ResolvedAddress(socket.AF_INET, host, port)]


@pytest.fixture
def provider(running_provider, settings, monkeypatch) -> FakeProvider:
    """The provider, as this site knows it, which has not asked it yet."""
    running_provider.reset()
    monkeypatch.setattr(oidc, "_kept", {})
    monkeypatch.setattr(oidc, "answer_limit", oidc.AnswerLimit())
    monkeypatch.setattr(outgoing, "_ask_resolver", find_here)
    settings.NOVA_OIDC = OidcProvider(
        issuer=running_provider.issuer,
        client_id="nova",
        client_secret="example-client-secret",
        groups={"ops": "Operator", "readers": "Viewer", "lost": "No such group"},
        over_http=True,
    )
    return running_provider
