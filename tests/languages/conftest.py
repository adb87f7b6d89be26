"""A superuser at the site."""

import pytest
from django.contrib.auth.models import User


@pytest.fixture
def root(db, client):
    client.force_login(User.objects.create_superuser("root"))
    return client
