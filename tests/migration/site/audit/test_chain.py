"""Sealing: nobody waits for it, nothing is lost where a process is killed, and the head is kept elsewhere."""

import json
import os
import signal
import threading
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer

import psycopg
import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import connection, transaction

from migration import tasks
from migration.core.audit import EPOCH, first_id_at, make_entry_id
from migration.core.audit_chain import AuditHead, seal_audit, select_unsealed
from migration.core.leases import LeaseKind
from migration.models import AuditLink
from migration.site import audit
from migration.site.audit import HeadNotSentError, send_head, verify_audit
from nova_admin.environment import AUDIT_VARIABLES, Environment, parse_webhook, read_audit_settings
from tests.factories import nova_uri
from tests.migration.site.audit.conftest import write_entries


def in_thread(act):
    """Runs it on a connection of its own."""

    def run():
        try:
            act()
        finally:
            connection.close()

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def test_an_entry_is_one_statement_and_sealing_is_not_its_business(
    transactional_db, django_assert_num_queries
):
    with django_assert_num_queries(1):
        write_entries(1)
    assert select_unsealed().count() >= 1


def test_two_that_write_and_two_that_seal_at_once_make_one_chain(chain):
    def work():
        for _ in range(5):
            write_entries(2)
            seal_audit()

    for thread in [in_thread(work) for _ in range(2)]:
        thread.join()

    head = seal_audit()
    assert head.position == chain.position + 20
    found = verify_audit(kept_head=chain)
    assert (found.sealed, found.unsealed) == (head.position, 0)
    assert {*found.faults} <= {"unprotected"}


def test_an_entry_whose_transaction_ends_late_gets_its_place_then(chain):
    with transaction.atomic():
        (late,) = write_entries(1)
        in_thread(lambda: write_entries(1) and seal_audit()).join()

    assert seal_audit().position == chain.position + 2
    assert AuditLink.objects.get(event_id=late.pk).position == chain.position + 2
    assert {*verify_audit().faults} <= {"unprotected"}


def test_who_seals_is_not_waited_for_by_those_who_write(chain, django_assert_num_queries):
    with psycopg.connect(nova_uri()) as other:
        other.execute(
            "SELECT FROM nova_admin.migration_lease WHERE kind = %s FOR UPDATE", [LeaseKind.AUDIT]
        )
        write_entries(1)
        assert seal_audit() == chain  # it is left to the other
        other.rollback()
    assert seal_audit().position == chain.position + 1


@pytest.mark.parametrize("killed", ["after the act", "while it seals"])
def test_what_was_recorded_before_a_kill_is_sealed_by_another_process(chain, killed):
    connection.close()
    pid = os.fork()
    if not pid:
        try:
            write_entries(1)
            if killed == "while it seals":
                with transaction.atomic():
                    seal_audit(wait=True)
                    os.kill(os.getpid(), signal.SIGKILL)
        finally:
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)

    assert seal_audit(wait=True).position == chain.position + 1
    assert {*verify_audit(kept_head=chain).faults} <= {"unprotected"}


def test_an_entry_of_long_ago_is_left_to_the_task_of_each_hour(chain, monkeypatch):
    with monkeypatch.context() as patch:
        hour_ago = datetime.now(UTC) - timedelta(hours=2)
        patch.setattr(
            "migration.core.audit.make_entry_id", lambda: (first_id_at(hour_ago), hour_ago)
        )
        write_entries(1)

    assert seal_audit() == chain
    assert seal_audit(from_beginning=True).position == chain.position + 1


def test_ids_are_in_the_order_of_time():
    made = [make_entry_id() for _ in range(50)]

    assert [pk for pk, _ in made] == sorted({pk for pk, _ in made})
    for pk, at in made:
        assert first_id_at(at) <= pk
        assert abs(EPOCH + timedelta(milliseconds=pk.int >> 80) - at) < timedelta(milliseconds=1)


def test_a_role_that_was_granted_nothing_may_write_no_entry(transactional_db):
    columns = ("UPDATE {} SET key = ''", "DELETE FROM {}", "INSERT INTO {} SELECT * FROM {}")
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            "CREATE ROLE reader_of_audit; GRANT USAGE ON SCHEMA nova_admin TO reader_of_audit"
        )
        cursor.execute("SET LOCAL ROLE reader_of_audit")
        for table in audit.TABLES:
            for statement in (*columns, "SELECT FROM {}"):
                with pytest.raises(Exception, match="42501"), transaction.atomic():
                    cursor.execute(statement.replace("{}", table))
        transaction.set_rollback(True)


# The head elsewhere


@contextmanager
def webhook(status: int = 200, **headers: str):
    """A server that keeps what it is sent; production's has to be https, which the settings see to."""
    taken: list[tuple[str, bytes]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            taken.append((self.path, self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()

        do_GET = do_POST  # noqa: N815  # its name is the method's

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/example-path", taken
        finally:
            server.shutdown()
            thread.join()


def test_the_head_goes_to_the_log_and_to_the_webhook(chain, settings, caplog):
    caplog.set_level("INFO")
    write_entries(1)
    with webhook() as (url, taken):
        settings.NOVA_AUDIT = type(settings.NOVA_AUDIT)(webhook=url)
        tasks.publish_audit_head()

    ((path, body),) = taken
    sent = json.loads(body)
    head = AuditHead.parse(sent["audit_head"])
    assert (path, head.position) == ("/example-path", chain.position + 1)
    assert (sent["position"], sent["signature"]) == (head.position, head.signature)
    assert f"Audit head {head}" in caplog.text
    assert {*verify_audit(kept_head=head).faults} <= {"unprotected"}


def test_a_webhook_that_redirects_is_not_followed_and_its_address_is_in_no_log(
    transactional_db, settings, caplog
):
    with webhook() as (other, elsewhere), webhook(302, Location=other) as (url, taken):
        with pytest.raises(HeadNotSentError, match="status 302"):
            send_head(AuditHead(), url)
        settings.NOVA_AUDIT = type(settings.NOVA_AUDIT)(webhook=url)
        tasks.publish_audit_head()  # goes on
    settings.NOVA_AUDIT = type(settings.NOVA_AUDIT)(webhook="http://127.0.0.1:1/example-path")
    tasks.publish_audit_head()

    assert (len(taken), elsewhere) == (2, [])
    assert "not taken by the webhook (status 302)" in caplog.text
    assert "example-path" not in caplog.text


@pytest.mark.parametrize(
    "value", ["http://example.test/x", "https://", "example.test", "https://x:0/"]
)
def test_a_webhook_has_to_be_https(value):
    with pytest.raises(ValueError, match="https"):
        parse_webhook(value)


def test_a_key_that_can_be_guessed_is_refused_and_not_repeated(monkeypatch):
    monkeypatch.setenv("NOVA_AUDIT_KEY", "example-short")
    with pytest.raises(ImproperlyConfigured) as refusal:
        read_audit_settings(Environment(**AUDIT_VARIABLES))
    assert "NOVA_AUDIT_KEY" in str(refusal.value)
    assert "example-short" not in str(refusal.value)
