"""Defects planted in what becomes of renamed clients, each with a life that shows it and keeps the law without it."""

from __future__ import annotations

from credentials import trigger_sql, triggers
from migration.pushes.secret_writer import PendingWrite, SecretWriter
from migration.secrets import layouts
from nova_credentials.phases import Phase
from nova_credentials.reader import from_postgres
from tests.law.actions import Change
from tests.law.campaign_mutations import CampaignFault as NamingFault
from tests.law.naming_acts import (
    nova_renames,
    nova_swaps_slugs,
    the_secrets_follow,
)
from tests.law.state_machine import Play

MAIL = Change(("mail",))
RENAME, SWAP, FOLLOW = (
    Play(act, MAIL, None) for act in (nova_renames, nova_swaps_slugs, the_secrets_follow)
)
NAMING_FAULTS: list[NamingFault] = []


def fault(start: Phase, *life: Play):
    def keep(plant):
        NAMING_FAULTS.append(NamingFault(plant, start, list(life)))
        return plant

    return keep


@fault(Phase.AWS, RENAME)
def the_trigger_notes_no_slug(patch):
    body = trigger_sql.COUNT_WRITE_BODY.replace("OLD.slug IS DISTINCT FROM NEW.slug", "false")
    for module in (trigger_sql, triggers):
        patch.setattr(module, "COUNT_WRITE_BODY", body)


@fault(Phase.PURGED, RENAME, RENAME)
def the_trigger_notes_the_newest_former_slug(patch):
    body = trigger_sql.COUNT_WRITE_BODY.replace("coalesce(secret_slug, OLD.slug)", "OLD.slug")
    for module in (trigger_sql, triggers):
        patch.setattr(module, "COUNT_WRITE_BODY", body)


@fault(Phase.AWS, RENAME)
def the_reader_goes_by_the_slug(patch):
    state = from_postgres.STATE.replace("m.secret_slug", "NULL::varchar")
    patch.setattr(from_postgres, "STATE", state)


@fault(Phase.AWS, RENAME, FOLLOW)
def the_secret_is_switched_before_it_is_written(patch):
    patch.setattr(layouts, "_prepare_secrets", lambda _, target, *__, **___: PendingWrite(target))
    patch.setattr(layouts, "_require_unchanged", lambda *_: None)


@fault(Phase.AWS, SWAP)
def a_name_that_is_another_clients_is_taken(patch):
    patch.setattr(layouts, "_require_free", lambda *_: None)
    # What is stored of the other client's secret would keep it, too.
    patch.setattr(SecretWriter, "_require_ours", lambda *_: None)
