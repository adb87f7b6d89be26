"""Takes a client with unmistakable passwords through every phase and back, then looks for them everywhere else."""

import re
import traceback
from dataclasses import dataclass
from itertools import count
from typing import Any

from django.contrib.auth.models import User
from django.urls import reverse

from credentials.models import Client
from migration import tasks
from migration.core import aws_store
from migration.core.clients import all_clients
from migration.core.pages import ClientTab
from migration.models import PhaseChange, Resolution
from migration.moves.moves import move
from migration.moves.pages import find_move_act
from migration.pushes import resolutions
from migration.runs.acts import ACTS, Act
from nova_credentials.aws import ClientSecretsManager
from nova_credentials.phases import Phase
from tests.factories import make_aws_secret, sent_form, update
from tests.migration.acts import act_page
from tests.test_no_secret_escapes import (
    Haystack,
    add_pickles,
    add_tables,
    add_texts,
    aws_that_echoes,
    command,
    everything_logged,
    page,
    pages_of_acts,
    seed,
    work_off_the_queue,
)

NAME = "nova/clients/idom"


RESOLVING = {
    "to_aws": "copy_to_aws",
    "to_postgres": "copy_to_postgres",
    "acknowledge": "acknowledge",
}


@dataclass
class Way:
    """One client's way, by the pages and commands."""

    haystack: Haystack
    browser: Any
    settings: Any
    pk: int

    def __post_init__(self) -> None:
        self.sm = aws_store.secrets_manager()
        self.numbers = count()

    @property
    def phase(self) -> str:
        return all_clients().with_phase().get(pk=self.pk).phase

    def press(self, what: str, **data: str) -> str:
        url = reverse(f"admin:credentials_client_{what}", args=[self.pk])
        return page(self.haystack, self.browser, url, data)

    def move(self, new: str, **data: str) -> str:
        return self.do(find_move_act(Phase(self.phase), Phase(new)), **data)

    def do(self, act: Act, **data: str) -> str:
        address = act_page(act.code, self.pk)
        page(self.haystack, self.browser, address)
        shown = f"{self.pk}:{act.see([self.pk])[self.pk]}"
        sent = {"confirmed": "1", "clients": shown, "typed": "idom", "reason": "INC-1"}
        return page(self.haystack, self.browser, address, sent | data)

    def resolve(self, *kinds: str) -> None:
        for kind in kinds:
            if kind == "check":
                said = self.press("compare")
            else:
                said = self.do(ACTS[RESOLVING[kind]], reason="INC-2", until="2999-01-01")
            assert "idom" in said

    def go(self, new: str) -> None:
        """On to a phase whose gate wants both stores equal, by a click."""
        self.resolve("check", "to_aws")
        self.do(ACTS["push"])
        self.resolve("check", "check", "check")
        self.move(new)
        assert self.phase == new

    def command(self, *arguments: str) -> None:
        command(self.haystack, "move_clients", *arguments, "idom", "--format", "json")
        command(self.haystack, "move_clients", *arguments, "idom")  # it is there already

    def nova_writes(self) -> None:
        row = Client.objects.get(pk=self.pk).databases.get().pk
        value = f"MARKER-ONE by NOVA {next(self.numbers)}"
        update("client_database_credentials", row, db_password_encrypted=value)

    def change_in_aws(self) -> None:
        plan = ClientSecretsManager()
        document = plan.get_client_credentials("idom")
        document["database"]["password"] = f"MARKER-FOUR {next(self.numbers)}"
        plan.update_client_credentials("idom", document)

    def save(self) -> str:
        url = reverse("admin:credentials_client_change", args=[self.pk])
        data = sent_form(self.browser.get(f"{url}?tab=logins").content.decode())
        typed = {
            name: f"MARKER-FOUR {next(self.numbers)}"
            for name in data
            if name.endswith(("password", "access_key"))
        }
        assert len(typed) == 3
        typed |= {
            name: make_aws_secret(value)
            for name, value in typed.items()
            if name.endswith("access_key")
        }
        return page(self.haystack, self.browser, url, data | typed)

    def save_in_every_way(self) -> None:
        assert "Saved." in self.save()
        with aws_that_echoes(aws_store.secrets_manager(interactive=True)):
            assert "Nothing was saved" in self.save()
        with self.without_aws():
            assert "Nothing was saved" in self.save()

    def undo_copy(self) -> None:
        url = reverse("admin:credentials_client_undo_copy", args=[self.pk])
        seen = re.search(r'name="seen" value="(\w+)"', page(self.haystack, self.browser, url))
        assert seen
        sent = {"seen": seen[1], "reason": "INC-42"}
        with aws_that_echoes(aws_store.secrets_manager(interactive=True)):
            page(self.haystack, self.browser, url, {**sent, "seen": "x"})
        assert "Put the former values back." in page(self.haystack, self.browser, url, sent)

    def restore_version(self) -> None:
        """Restore the version before, though its logins can't be tried, and fail in every way before that."""
        former = self.sm.get_stage(NAME, "AWSPREVIOUS").version_id
        url = reverse("admin:credentials_client_restore_version", args=[self.pk])
        url += f"?name={NAME}&version_id={former}"
        seen = re.search(r'name="seen" value="(\w+)"', page(self.haystack, self.browser, url))
        assert seen
        sent = {"seen": seen[1], "reason": "INC-42"}
        shown = page(self.haystack, self.browser, url, sent)
        assert "could not be found out" in shown
        unproven = re.search(r'name="unproven" value="(\w+)"', shown)
        assert unproven
        sent["unproven"] = unproven[1]
        with aws_that_echoes(aws_store.secrets_manager(interactive=True)):
            page(self.haystack, self.browser, url, sent)
        assert "was restored" in page(self.haystack, self.browser, url, sent)

    def without_aws(self) -> Any:
        return Away(self.settings)

    def refuse(self, *refused: Phase) -> None:
        """Whatever is raised where it can't be done: its whole chain, and what its objects hold."""
        for step in (
            *(lambda new=new: move(client_id=self.pk, new=new) for new in refused),
            lambda: resolutions.copy_to_postgres(client_id=self.pk),
            lambda: resolutions.undo_copy(client_id=self.pk, seen="", reason=""),
        ):
            before = self.phase
            try:
                step()
            except Exception as error:  # noqa: BLE001 - whatever it is, it is looked through
                text = "".join(traceback.format_exception(error))
                while error:
                    text += f"{error!r} {error} {vars(error)!r}"
                    error = error.__cause__ or error.__context__
                self.haystack.add("exception of an operation", text)
            assert self.phase == before


class Away:
    """AWS does not answer."""

    def __init__(self, settings: Any) -> None:
        self.settings, self.reachable = settings, settings.AWS_ENDPOINT_URL

    def __enter__(self) -> None:
        self.settings.AWS_ENDPOINT_URL = "http://127.0.0.1:1"

    def __exit__(self, *_: object) -> None:
        self.settings.AWS_ENDPOINT_URL = self.reachable


def by_schedule(way: Way) -> None:
    tasks.push_pending()
    tasks.sweep()
    work_off_the_queue(way.haystack)


def before_the_cutover(way: Way) -> None:
    way.move("dual_write")
    for kind in ("check", "acknowledge", "to_postgres", "to_aws"):
        way.change_in_aws()
        way.resolve("check", kind)
        if kind == "to_postgres":
            way.undo_copy()
    way.nova_writes()
    way.resolve("to_postgres")  # refused: a push is pending
    by_schedule(way)
    with way.without_aws():
        assert "AWS does not have the latest change yet." in way.save()
        way.refuse(Phase.DUAL_READ, Phase.AWS)
    way.go("dual_read")
    assert "Saved." in way.save()
    way.nova_writes()
    assert "A push is pending" in way.move("aws")
    way.go("aws")


def after_the_cutover(way: Way) -> None:
    assert '"audit_head"' in way.press("cutover_file")
    way.save_in_every_way()
    way.restore_version()
    way.nova_writes()
    by_schedule(way)
    with way.without_aws():
        assert "were not checked" in way.move("dual_read")
    way.go("aws")
    way.change_in_aws()
    assert "Nothing was saved" in way.save()
    way.command("dual_read")  # takes along what AWS holds
    way.go("aws")
    way.change_in_aws()
    way.nova_writes()
    by_schedule(way)
    assert "copied to PostgreSQL" in way.move("dual_read")
    for text in ('{"database": {"host": ["MARKER-FOUR"]}}', '"MARKER-FOUR'):
        way.go("aws")
        way.sm.put_value(NAME, text)
        by_schedule(way)
        assert "were not checked" in way.move("dual_read")
    way.go("aws")


def purged_and_back(way: Way) -> None:
    way.move("purged", typed="MARKER")
    assert way.phase == "aws"
    way.go("purged")
    way.save_in_every_way()
    way.nova_writes()
    by_schedule(way)
    held = way.sm.get_value(NAME).text
    for text in ('{"database": {"host": ["MARKER-FOUR"]}}', '"MARKER-FOUR'):
        way.sm.put_value(NAME, text)
        assert "Nothing was saved" in way.save()
        way.refuse(Phase.AWS, Phase.PURGED)
    way.sm.put_value(NAME, held)
    way.command("aws")
    way.command("dual_read")
    way.command("dual_write")
    way.command("postgres", "--schedule-deletion")
    way.move("dual_write")
    assert way.phase == "dual_write"


def test_no_secret_is_anywhere_but_in_the_tables_and_in_aws_all_the_way(traps, client, settings):
    client.force_login(User.objects.create_superuser("root", password="example-login-password"))
    haystack = Haystack()
    with everything_logged(haystack):
        way = Way(haystack, client, settings, seed())
        for part in (before_the_cutover, after_the_cutover, purged_and_back):
            part(way)
        (walker,) = Client.objects.filter(pk=way.pk)
        page_of_client = reverse("admin:credentials_client_change", args=[way.pk])
        for url in (
            *(f"{page_of_client}?tab={tab}" for tab in ClientTab),
            *(
                reverse(f"admin:credentials_client_{n}", args=[way.pk])
                for n in ("history", "versions")
            ),
            *pages_of_acts(walker),
            reverse("admin:migration_auditevent_changelist"),
        ):
            page(haystack, client, url)
        for row in (*PhaseChange.objects.all(), *Resolution.objects.all()):
            haystack.add("text of a row", f"{row!r} {row} {vars(row)!r}")
        add_texts(haystack)
        add_tables(haystack, traps.ask)
        add_pickles(haystack)

    assert traps.sprung() == []
    assert haystack.found() == []
    # It did go there, by pages and commands, and the refusals were looked through.
    walked = set(PhaseChange.objects.values_list("old", "new"))
    assert len(walked) == 8
    assert set(Resolution.objects.values_list("kind", flat=True)) == set(Resolution.Kind)
    assert [p for p in haystack.pieces if p.startswith("exception")] == [
        "exception of an operation"
    ]
    assert {"table migration_phasechange", "table migration_resolution"} <= set(haystack.pieces)
    assert "will be deleted on" in haystack.text("output of move_clients")
    assert "database.host must be text" in haystack.text("exception of an operation")
