"""How long a reader's cache answers."""

from unittest.mock import MagicMock

import pytest

from nova_credentials import reader as drop_in
from nova_credentials.document import DocumentError
from nova_credentials.phases import Phase
from nova_credentials.reader import connections
from nova_credentials.reader.routing import Reader
from tests.factories import make_client, make_database, make_email, make_full_client, update
from tests.nova_credentials.in_phases import bring
from tests.nova_credentials.reader.questions import execute


def test_a_cached_read_asks_neither_store_and_a_refresh_asks_both(make_reader, role):
    pks = {phase: make_full_client(phase) for phase in Phase}
    reader = make_reader(cache_seconds=1000, timeout=30)
    first = {}
    for phase, pk in pks.items():
        bring(pk, phase)
        first[phase] = reader.get_credential(phase, "database")
    execute("UPDATE public.clients SET name = 'X', is_active = false")

    for phase, pk in pks.items():
        assert reader.get_credential(phase, "database") is first[phase]
        assert reader.client_id(phase) == pk
        email = reader.get_primary_credentials(phase)["email"]
        assert email.email_password == "example-app-password-2"
        with pytest.raises(ValueError, match=phase):
            reader.get_credential(phase, "database", refresh=True)
        with pytest.raises(ValueError, match=phase):  # nor is it cached any more
            reader.get_credential(phase, "database")


def test_the_cache_ends_its_time_after_the_start_of_the_read(make_reader, monkeypatch):
    pk = make_client("idom")
    row = make_database(pk, db_user="a")
    reader, clock, look = make_reader(cache_seconds=30), [100.0], Reader._look_up
    monkeypatch.setattr("nova_credentials.reader.routing.time.monotonic", lambda: clock[0])

    def slow(self, slug):
        found = look(self, slug)
        clock[0] += 20
        return found

    monkeypatch.setattr(Reader, "_look_up", slow)
    reader.get_credential("idom", "database")
    update("client_database_credentials", row, db_user="b")
    clock[0] = 129.9
    assert reader.get_credential("idom", "database").db_user == "a"
    clock[0] = 130.0
    assert reader.get_credential("idom", "database").db_user == "b"


def test_a_slow_read_does_not_replace_a_later_one_in_the_cache(make_reader, monkeypatch):
    pk = make_client("idom")
    row = make_database(pk, db_user="a")
    reader, look, once = make_reader(cache_seconds=1000), Reader._look_up, [True]

    def overtaken(self, slug):
        found = look(self, slug)
        if once:
            once.clear()
            update("client_database_credentials", row, db_user="b")
            self.get_credential(slug, "database", refresh=True)
        return found

    monkeypatch.setattr(Reader, "_look_up", overtaken)

    assert reader.get_credential("idom", "database").db_user == "a"
    assert reader.get_credential("idom", "database").db_user == "b"


def test_of_two_reads_at_one_moment_the_later_is_cached(make_reader, monkeypatch):
    row = make_database(make_client("idom"), db_user="a")
    reader = make_reader(cache_seconds=30)
    monkeypatch.setattr("nova_credentials.reader.routing.time.monotonic", lambda: 100.0)
    reader.get_credential("idom", "database")
    update("client_database_credentials", row, db_user="b")
    reader.get_credential("idom", "database", refresh=True)

    assert reader.get_credential("idom", "database").db_user == "b"


@pytest.mark.parametrize("asked", [{}, {"refresh": False}, {"refresh": True}])
def test_novas_functions_take_the_cache_s_answer_unless_a_refresh_is_asked_for(asked, monkeypatch):
    reader = MagicMock()
    monkeypatch.setattr(drop_in, "_shared_reader", lambda: reader)
    connect = MagicMock()
    monkeypatch.setattr(connections, "connect_to_database", connect)

    drop_in.get_database_credentials("idom", **asked)
    drop_in.get_email_credentials("idom", **asked)
    drop_in.get_aws_credentials("idom", **asked)
    drop_in.get_all_credentials("idom", **asked)
    drop_in.get_available_credentials("idom", **asked)
    drop_in.get_database_connection("idom", **asked)

    calls = [*reader.get_credential.call_args_list, *reader.get_primary_credentials.call_args_list]
    assert len(calls) == 5
    wanted = asked.get("refresh", False)
    assert {call.kwargs["refresh"] for call in [*calls, *connect.call_args_list]} == {wanted}


def test_a_row_that_the_cache_lacks_is_looked_for(make_reader):
    pk = make_client("idom")
    make_database(pk)
    reader = make_reader(cache_seconds=1000)
    with pytest.raises(ValueError, match="idom"):
        reader.get_credential("idom", "email")
    make_email(pk)

    assert reader.get_credential("idom", "email").email_user == "invoices@example.test"


def test_a_failed_read_is_not_cached(make_reader, sm):
    bring(make_full_client("idom"), Phase.AWS)
    reader = make_reader(cache_seconds=1000, timeout=30)
    text = sm.get_value("nova/clients/idom").text
    sm.put_value("nova/clients/idom", "no JSON")
    with pytest.raises(DocumentError):
        reader.get_primary_credentials("idom")
    sm.put_value("nova/clients/idom", text)

    assert reader.get_credential("idom", "database").db_password == "example-password-1"
