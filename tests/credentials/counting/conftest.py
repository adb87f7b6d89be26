"""A client whose writes are counted, and tables left as they were found."""

import pytest

from credentials.triggers import ensure_writes_are_counted
from tests.credentials.counting.statements import AS_BEFORE, execute
from tests.factories import make_full_client


@pytest.fixture(autouse=True)
def triggers_again(stores):
    """Whatever a test does to the tables is undone after it."""
    execute("DELETE FROM nova_admin.credentials_countinggap")
    yield
    execute(AS_BEFORE)
    ensure_writes_are_counted()
    execute("DROP FUNCTION IF EXISTS public.swallow(), public.notify(), public.twin()")


@pytest.fixture
def idom() -> int:
    return make_full_client("idom")
