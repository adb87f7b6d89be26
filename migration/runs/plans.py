"""Owns plans: what a run would do to each client, looked at before it is started. Never holds a value."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, ClassVar, NotRequired, Self, TypeAlias, TypedDict
from uuid import UUID

from django.db import models
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from migration.core.sentences import CLIENT_LEFT_ALONE
from nova_credentials.comparison import Mismatch
from nova_credentials.messages import Message, Sentence
from nova_credentials.phases import Phase

# So many of a plan's clients are in memory at once.
CLIENTS_AT_ONCE = 500


class Remedy(TypedDict):
    """A link to `url`, or a button that posts to it, with the address to return to as `back`.

    What it starts takes a while: `live` answers with how far it is, in the button's place, or with nothing.
    """

    label: str
    url: str
    posts: NotRequired[bool]
    back: NotRequired[str]
    live: NotRequired[str]
    # The id of the client, which it posts.
    client: NotRequired[int]


# Of a reason: the link or button that mends it for this user, who comes back to the address; None where there is none.
FindRemedy: TypeAlias = Callable[[HttpRequest, str], Remedy | None]


class PlanClass(models.TextChoices):
    """What a plan says of a client: one of the three verdicts, or, of pushes, a finer class that has its verdict."""

    NEW = "new", _("New in AWS")
    UNCHANGED = "unchanged", _("Unchanged")
    UPDATED = "updated", _("Updated over this site's version")
    OVERWRITTEN = "overwritten", _("Overwritten: someone else's version")
    LEFT_ALONE = "left_alone", _("Left alone")
    FAILING = "failing", _("Will fail")
    WILL = "will", _("Would be done")
    NOTHING = "nothing", _("Nothing to do")
    REFUSED = "refused", _("Refused")

    @property
    def verdict(self) -> PlanClass:
        return VERDICTS_OF_PUSHES.get(self, self)


VERDICTS = (PlanClass.WILL, PlanClass.NOTHING, PlanClass.REFUSED)
VERDICTS_OF_PUSHES = {
    PlanClass.NEW: PlanClass.WILL,
    PlanClass.UPDATED: PlanClass.WILL,
    PlanClass.OVERWRITTEN: PlanClass.WILL,
    PlanClass.UNCHANGED: PlanClass.NOTHING,
    PlanClass.LEFT_ALONE: PlanClass.REFUSED,
    PlanClass.FAILING: PlanClass.REFUSED,
}


@dataclass(frozen=True)
class ReplacedSecret:
    """A secret whose current version the run replaces, and who wrote that version, as far as it is known."""

    name: str
    version_id: str
    by_this_site: bool
    who: str = ""
    written_at: str = ""  # ISO 8601; empty where AWS doesn't say

    @property
    def written(self) -> datetime | None:
        """Return when the version was written; None where it is not known."""
        return datetime.fromisoformat(self.written_at) if self.written_at else None


@dataclass(frozen=True)
class Reason:
    """One thing that a plan says of a client: why it is refused or would be done, or a condition that it meets."""

    text: Message
    code: str = ""
    passed: bool = False
    # The kind of evidence that is missing, where an override may stand in for it; and whether one does.
    evidence: str = ""
    overridden: bool = False
    is_off: bool = False  # a setting switches the condition off
    # What mends it, for the user of a page to which it leads back; a stored plan has none.
    find_remedy: FindRemedy | None = field(default=None, repr=False, compare=False)

    def to_json(self) -> dict[str, Any]:
        """Return the reason as plans store it."""
        return {
            "text": self.text.to_json(),
            "code": self.code,
            "passed": self.passed,
            "evidence": self.evidence,
            "overridden": self.overridden,
            "is_off": self.is_off,
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """Return the reason that `to_json` stored."""
        return cls(**data | {"text": Message.from_json(data["text"])})


@dataclass(frozen=True)
class PlannedClient:
    """One client of a plan: where it stands, and what the run would do with it."""

    client_id: int
    slug: str
    phase: str
    revision: int
    plan_class: str
    outcome: str
    error_class: str = ""
    message: Message | None = None
    # Secret name -> id of the version that AWS holds.
    versions: dict[str, str] = field(default_factory=dict)
    # Secret name -> its outcome, of those that are written.
    writes: dict[str, str] = field(default_factory=dict)
    replaced: tuple[ReplacedSecret, ...] = ()
    # Why, and what else was looked at: what is not met stands first.
    reasons: tuple[Reason, ...] = ()
    # What else is said of it: whose a secret is, which fields differ.
    notes: tuple[Message, ...] = ()
    # The fields that differ, as comparisons keep them: codes and lengths.
    mismatches: tuple[dict[str, str], ...] = ()
    # What was seen of it (`Act.see`): who looks otherwise when the plan is carried out is left out.
    seen: str = ""

    def read_mismatches(self) -> list[Mismatch]:
        """Return the fields that differ."""
        return [Mismatch.from_json(row) for row in self.mismatches]

    @property
    def verdict(self) -> PlanClass:
        return PlanClass.WILL if self.is_only_moved else PlanClass(self.plan_class).verdict

    @property
    def is_only_moved(self) -> bool:
        """Say whether a push writes nothing, as AWS holds the rows, and takes the client to dual write."""
        return self.plan_class == PlanClass.UNCHANGED and self.phase == Phase.POSTGRES

    @property
    def missing_evidence(self) -> set[str]:
        """Return the kinds of evidence that it lacks, whether an override stands in for them or not."""
        return {each.evidence for each in self.reasons if each.evidence and not each.passed}

    def to_json(self) -> dict[str, Any]:
        """Return the client as plans store and export it."""
        return {
            "id": self.client_id,
            "slug": self.slug,
            "phase": str(self.phase),
            "revision": self.revision,
            "class": str(self.plan_class),
            "outcome": str(self.outcome),
            "error_class": str(self.error_class),
            "message": self.message.to_json() if self.message else None,
            "versions": self.versions,
            "writes": self.writes,
            "replaced": [asdict(each) for each in self.replaced],
            "reasons": [each.to_json() for each in self.reasons],
            "notes": [each.to_json() for each in self.notes],
            "mismatches": list(self.mismatches),
            "seen": self.seen,
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """Return the client that `to_json` stored."""
        return cls(
            client_id=data["id"],
            slug=data["slug"],
            phase=data["phase"],
            revision=data["revision"],
            plan_class=data["class"],
            outcome=data["outcome"],
            error_class=data["error_class"],
            message=data["message"] and Message.from_json(data["message"]),
            versions=data["versions"],
            writes=data["writes"],
            replaced=tuple(ReplacedSecret(**each) for each in data["replaced"]),
            # Plans of earlier releases have none of these.
            reasons=tuple(Reason.from_json(each) for each in data.get("reasons", ())),
            notes=tuple(Message.from_json(each) for each in data.get("notes", ())),
            mismatches=tuple(data.get("mismatches", ())),
            seen=data.get("seen", ""),
        )


@dataclass
class PlanCounts:
    """The numbers of a plan that its summary is made of, added up while its clients are looked at."""

    clients: int = 0
    # By `PlanClass`; and of the secrets that are written, by outcome.
    classes: Counter[str] = field(default_factory=Counter)
    writes: Counter[str] = field(default_factory=Counter)
    # Secrets that AWS holds now.
    present: int = 0
    # Clients that are left alone as they differ, and that a plan which overwrites would write.
    spared: int = 0
    # By kind of evidence, the clients that lack it.
    missing: Counter[str] = field(default_factory=Counter)
    # Of the unchanged, those that are moved to dual write.
    only_moved: int = 0

    def add(self, clients: Collection[PlannedClient]) -> None:
        """Count these clients too."""
        self.clients += len(clients)
        for client in clients:
            self.classes[str(client.plan_class)] += 1
            self.writes.update(client.writes.values())
            self.missing.update(client.missing_evidence)
            self.present += len(client.versions)
            self.spared += bool(client.message and client.message.key == CLIENT_LEFT_ALONE.key)
            self.only_moved += client.is_only_moved

    def count_verdicts(self) -> dict[PlanClass, int]:
        """Count the clients by what would be done with them."""
        counted = dict.fromkeys(VERDICTS, 0)
        for name, number in self.classes.items():
            counted[PlanClass(name).verdict] += number
        counted[PlanClass.WILL] += self.only_moved
        counted[PlanClass.NOTHING] -= self.only_moved
        return counted

    def to_json(self) -> dict[str, Any]:
        """Return the numbers as plans store them."""
        return dict(vars(self))

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """Return the numbers that `to_json` stored; all are 0 before the first look has ended."""
        plain: dict[str, Any] = {
            name: data.get(name, 0) for name in ("clients", "present", "spared", "only_moved")
        }
        counted = {name: Counter(data.get(name, {})) for name in ("classes", "writes", "missing")}
        return cls(**plain | counted)


# `PlannedClient.is_only_moved` of a row.
ONLY_MOVED = models.Q(plan_class=PlanClass.UNCHANGED, content__phase=Phase.POSTGRES)


class PlanRowQuerySet(models.QuerySet["PlanRow"]):
    def add(self, run_id: int, look: UUID, clients: Collection[PlannedClient]) -> None:
        """Store what a look at the run's clients has found of these."""
        self.bulk_create(
            PlanRow(
                run_id=run_id,
                look=look,
                client_id=client.client_id,
                plan_class=str(client.plan_class),
                content=client.to_json(),
            )
            for client in clients
        )

    def list_clients(self) -> list[PlannedClient]:
        """Return the clients as a list, sorted by id."""
        contents = self.order_by("client_id").values_list("content", flat=True)
        return [PlannedClient.from_json(content) for content in contents]

    def iterate_clients(self) -> Iterator[PlannedClient]:
        """Yield the clients, sorted by id, with some of them in memory at a time."""
        contents = self.order_by("client_id").values_list("content", flat=True)
        for content in contents.iterator(chunk_size=CLIENTS_AT_ONCE):
            yield PlannedClient.from_json(content)

    def read_seen(self) -> dict[int, str]:
        """Return what was seen of each client, by id; of one that a release before 0.3.0 planned nothing was."""
        rows = self.order_by("client_id").values_list("client_id", "content__seen")
        return {pk: seen or "" for pk, seen in rows}

    def select_work(self) -> Self:
        """Select the clients that something would be done to (`PlannedClient.verdict`)."""
        names = [name.value for name in PlanClass if name.verdict == PlanClass.WILL]
        return self.filter(models.Q(plan_class__in=names) | ONLY_MOVED)

    def list_classes(
        self, names: Collection[str], *, most: int | None
    ) -> dict[str, list[PlannedClient]]:
        """Return the clients of each of these classes, at most so many of each, in one query."""
        found: dict[str, list[PlannedClient]] = {name: [] for name in names}
        if not names:
            return found
        first, *others = [
            self.filter(plan_class=name)
            .order_by("client_id")
            .values_list("content", flat=True)[:most]
            for name in names
        ]
        for content in first.union(*others, all=True) if others else first:
            found[content["class"]].append(PlannedClient.from_json(content))
        return found


class PlanRow(models.Model):
    """One client of a run's plan, as one look found it. Of a plan that was looked at twice only its own look counts."""

    run = models.ForeignKey("Run", models.CASCADE, related_name="+", db_index=False)
    look = models.UUIDField()
    client_id = models.IntegerField()
    plan_class = models.CharField(max_length=16, choices=PlanClass)
    # The `PlannedClient`.
    content = models.JSONField()

    objects = PlanRowQuerySet.as_manager()

    class Meta:
        default_permissions = ()
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["run", "look", "client_id"], name="one_row_a_client_and_look"
            )
        ]
        indexes: ClassVar = [
            # For a page that names the first of each class.
            models.Index(fields=["run", "look", "plan_class", "client_id"], name="planrow_class")
        ]

    def __str__(self) -> str:
        return f"client {self.client_id} in the plan of run {self.run_id}"


# In entries of releases before 0.3.0, whose plans were no runs and had numbers of their own.
FORMER_SENTENCES = (
    Sentence("plan_requested", "Had plan %(id)s made."),
    Sentence("plan_started", "Started a run from plan %(id)s."),
    Sentence("plan_discarded", "Discarded plan %(id)s."),
)
