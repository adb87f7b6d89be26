"""Defects planted in changes of layout, one at a time, each with a life that shows it and keeps the law without it."""

from __future__ import annotations

from dataclasses import replace

from migration.core import aws_store
from migration.core.snapshots import ClientSnapshot
from migration.pushes.secret_writer import PendingWrite, SecretWriter
from migration.secrets import layouts
from nova_credentials.phases import Phase
from tests.law.actions import (
    Change,
    a_reader_of_an_earlier_release_reads,
    console_writes,
    save,
)
from tests.law.campaign_mutations import CampaignFault as LayoutFault
from tests.law.fault_injection import Interruption, What
from tests.law.layout_acts import change_the_layout, the_old_secrets_go
from tests.law.state_machine import Play
from tests.long_tests import SOAK

MAIL = Change(("mail",))
ALL_THREE = Change(("password", "port", "mail"))
CHANGE, GO, SAVE = (Play(act, MAIL, None) for act in (change_the_layout, the_old_secrets_go, save))
READ_BY_AN_EARLIER_RELEASE = Play(a_reader_of_an_earlier_release_reads, MAIL, None)
LAYOUT_FAULTS: list[LayoutFault] = []
# Killed at each step in turn, by day at every second, and a save after each.
KILLED_AT_EACH_STEP = [
    play
    for at in range(0, 14, 1 if SOAK else 2)
    for play in (Play(change_the_layout, MAIL, Interruption(What.KILLED, at)), SAVE)
]


def fault(start: Phase, *life: Play):
    def keep(plant):
        LAYOUT_FAULTS.append(LayoutFault(plant, start, list(life)))
        return plant

    return keep


@fault(Phase.PURGED, CHANGE)
def the_pointers_of_a_purged_client_stay(patch):
    patch.setattr(layouts, "repoint_existing_pointers", lambda *_: None)


@fault(Phase.AWS, CHANGE, SAVE, READ_BY_AN_EARLIER_RELEASE)
def the_old_secret_is_not_written_meanwhile(patch):
    patch.setattr(
        ClientSnapshot, "names_to_write", property(lambda rows: [(rows.layout, rows.names)])
    )


@fault(Phase.AWS, Play(console_writes, MAIL, None), CHANGE)
def a_change_copies_the_rows_and_not_what_aws_holds(patch):
    def read_aws(snapshot, *, sm):
        return replace(aws_store.read_aws(snapshot, sm=sm), document=snapshot.document)

    patch.setattr(layouts, "read_aws", read_aws)


@fault(Phase.AWS, CHANGE, Play(console_writes, MAIL, None), Play(save, ALL_THREE, None))
def a_secret_is_written_before_the_next_is_looked_at(patch):
    require_writable, write_secret = SecretWriter._require_writable, SecretWriter._write_secret

    def look_and_write(writer, pending, name):
        require_writable(writer, pending, name)
        write_secret(writer, pending, name)

    patch.setattr(SecretWriter, "_require_writable", lambda *_: None)
    patch.setattr(SecretWriter, "_write_secret", look_and_write)


@fault(Phase.AWS, CHANGE, Play(save, ALL_THREE, Interruption(What.DOWN, 2)))
def half_a_save_is_said_to_be_saved_nowhere(patch):
    patch.setattr(PendingWrite, "list_surely_written_names", lambda _: ())
