"""A site in which one thing is wrong."""

import pytest
from django.contrib.auth.models import User

from migration.models import Worker
from tests.migration.core.problems.causes import World
from tests.nova_credentials.reader.conftest import login, login_server

__all__ = ["login", "login_server"]


@pytest.fixture
def world(request, stores, settings) -> World:
    """Both stores, a superuser's browser, and a worker that is alive."""
    Worker.objects.record_start("host:1")
    Worker.objects.record_heartbeat("host:1")
    return World(request, stores, settings, User.objects.create_superuser("root"))
