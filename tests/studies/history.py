"""What a client's history of 2,000 events takes to load among a million, and what `verify_audit` takes."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

from tests.studies.study import (
    Study,
    Table,
    call_in_process,
    migrated_site,
    read_peak,
    set_up,
    use_settings,
)

if TYPE_CHECKING:
    from argparse import Namespace

NUMBER = 1_000_000
AT_ONCE = 10_000
# Of one client, spread over all.
OF_CLIENT, CLIENT = 2_000, 10_000_000


def measure(options: Namespace) -> list[Table]:
    from django.db import connection

    use_settings()
    with migrated_site():
        began = time.monotonic()
        write_chain(options.events)
        table = Table()
        table.add_measure(f"{options.events:,} events written", time.monotonic() - began, "s")
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE")
        measure_history(table)
        # Its greatest memory is that of the verification.
        verified = json.loads(call_in_process(verify).splitlines()[-1])
    sealed, is_sound, seconds, processor, megabytes, most_megabytes = verified
    holds = is_sound and sealed >= options.events
    table.add_measure(f"{sealed:,} entries verified", seconds, "s", "sound", holds=holds)
    table.add_measure("of a processor", processor, "s")
    table.add_measure("memory before it", megabytes, "MB")
    table.add_measure("most memory meanwhile", most_megabytes, "MB")
    return [table]


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


def measure_history(table: Table) -> None:
    """Load the first and the last page of the client's history, each as the second time that it is asked for."""
    from migration.clients.history import SHOWN, load_history

    for page in (1, OF_CLIENT // SHOWN):
        for _time in range(2):
            began = time.monotonic()
            found = load_history(CLIENT, has_permission=lambda _name: True, page=page)
            took = time.monotonic() - began
        table.add_measure(f"page {page} of a history, {len(found.lines)} lines", took * 1000, "ms")


def verify() -> None:
    """Print as JSON what was verified, and what that took."""
    set_up()
    from migration.site.audit import verify_audit

    before, processor, began = read_peak(), time.process_time(), time.monotonic()
    found = verify_audit()
    took = time.monotonic() - began, time.process_time() - processor
    print(json.dumps([found.sealed, found.is_sound, *took, before / 1024, read_peak() / 1024]))


STUDY = Study(
    measure,
    needs="minutes, in which the events are written",
    options={"--events": {"type": int, "default": NUMBER}},
)
