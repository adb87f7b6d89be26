"""NOVA's database on the servers of the machine."""

from collections.abc import Iterator

import pytest

from tests.nova_admin.adoption.nova import Nova, made_nova


@pytest.fixture
def nova(tmp_path) -> Iterator[Nova]:
    with made_nova(tmp_path) as made:
        yield made
