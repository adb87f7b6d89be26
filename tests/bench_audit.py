"""`python -m tests.bench_audit [NUMBER]`: a client's history of 2,000 events among a million, and `verify_audit`.

Not part of `make bench`: to write the rows takes minutes.
"""

from __future__ import annotations

import os
import resource
import sys
import time
from secrets import token_urlsafe

from tests import nova_database
from tests.bench import LOCAL

NUMBER = 1_000_000
AT_ONCE = 10_000
# Of one client, spread over all.
OF_CLIENT, CLIENT = 2_000, 10_000_000


def main() -> None:
    from nova_admin.embedded import postgres

    os.environ |= {
        "DJANGO_SETTINGS_MODULE": "nova_admin.settings",
        "DEBUG": "1",
        "LOG_LEVEL": "ERROR",
        "SECRET_KEY": token_urlsafe(64),
        "DATABASE_URL": postgres.start_server(LOCAL / "postgres"),
        "AWS_ENDPOINT_URL_SECRETS_MANAGER": "http://127.0.0.1:1",
    }
    number = int(sys.argv[1]) if len(sys.argv) > 1 else NUMBER
    with nova_database.database() as uri:
        os.environ["DATABASE_URL"] = uri
        in_database(number)


def in_database(number: int) -> None:
    import django

    django.setup()
    from django.conf import settings
    from django.core.management import call_command
    from django.db import connection

    settings.DEBUG = False  # or Django keeps every statement
    call_command("migrate", verbosity=0)
    began = time.monotonic()
    write_chain(number)
    print(f"written: {time.monotonic() - began:.0f} s", flush=True)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    measure_history()
    verify_in_child(number)


def write_chain(number: int) -> None:
    """Write signed entries and their links, many in one statement."""
    from migration.core.audit import PUSH_EVENT, audit_keys
    from migration.core.audit_chain import AuditHead, make_link, seal_audit
    from migration.models import AuditEvent
    from migration.pushes.pushes import SECRETS_PUSHED

    keys, head, each = audit_keys(), seal_audit(from_beginning=True), max(number // OF_CLIENT, 1)
    facts = SECRETS_PUSHED(secrets=("nova/clients/idom",))
    for first in range(0, number, AT_ONCE):
        events, links = [], []
        for n in range(first, min(first + AT_ONCE, number)):
            client_id = n if n % each else CLIENT
            event = AuditEvent.make_signed(
                PUSH_EVENT, facts, client_id=client_id, slug=f"client-{client_id}"
            )
            link = make_link(keys, head, event, event.at)
            head = AuditHead(link.position, link.signature)
            events.append(event)
            links.append(link)
        copy_rows(events)
        copy_rows(links)


def copy_rows(rows: list) -> None:
    """Write rows of one model by COPY: ten times as fast as INSERT."""
    from django.db import connection

    fields = rows[0]._meta.concrete_fields
    columns = ", ".join(field.column for field in fields)
    with connection.cursor() as cursor:
        statement = f"COPY nova_admin.{rows[0]._meta.db_table} ({columns}) FROM STDIN"
        with cursor.copy(statement) as copy:
            for row in rows:
                copy.write_row([getattr(row, field.attname) for field in fields])


def measure_history() -> None:
    """Load the first and the last page of the client's history, each as the second time that it is asked for."""
    from migration.clients.history import SHOWN, load_history

    for page in (1, OF_CLIENT // SHOWN):
        for _time in range(2):
            began = time.monotonic()
            found = load_history(CLIENT, has_permission=lambda _name: True, page=page)
            took = time.monotonic() - began
        print(
            f"page {page} of a history: {len(found.lines)} lines in {took * 1000:.0f} ms",
            flush=True,
        )


def verify_in_child(number: int) -> None:
    """Verify in a process of its own, whose greatest memory is that of the verification."""
    from django.db import connection

    connection.close()
    if pid := os.fork():
        _pid, status = os.waitpid(pid, 0)
        sys.exit(os.waitstatus_to_exitcode(status))
    from migration.site.audit import verify_audit

    before, cpu = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    began = time.monotonic()
    found = verify_audit()
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(
        f"verified {found.sealed:,} entries, sound: {found.is_sound}, in {time.monotonic() - began:.1f} s"
        f" ({time.process_time() - cpu:.1f} s of a processor); memory {before / 1024:.0f} MB before,"
        f" {after / 1024:.0f} MB at most"
    )
    sys.stdout.flush()
    os._exit(0 if found.is_sound and found.sealed >= number else 1)


if __name__ == "__main__":
    main()
