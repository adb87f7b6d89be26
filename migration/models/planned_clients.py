"""Owns what a plan says of one client, and the rows that hold it: one for each client of a look. Never a value."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar, Self

from django.db import models
from django.utils.translation import gettext_lazy as _

from migration import plan_sentences
from nova_credentials.messages import Message

if TYPE_CHECKING:
    from collections.abc import Collection
    from uuid import UUID


class PlanClass(models.TextChoices):
    """The classes into which a plan sorts clients, by what its run would do with each."""

    NEW = "new", _("New in AWS")
    UNCHANGED = "unchanged", _("Unchanged")
    UPDATED = "updated", _("Updated over this site's version")
    OVERWRITTEN = "overwritten", _("Overwritten: somebody else's version")
    LEFT_ALONE = "left_alone", _("Left alone")
    FAILING = "failing", _("Will fail")


class PlanDrift(models.TextChoices):
    """How a client differs from its plan."""

    CAME = "came", _("came after the plan: not part of the run")
    WENT = "went", _("no longer exists")
    PHASE = "phase", _("another phase")
    REVISION = "revision", _("rows were written")
    VERSION = "version", _("another version in AWS")
    CLASS = "class", _("another outcome")


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

    def to_json(self) -> dict[str, object]:
        """Return the replaced secret as JSON has it in a plan's row."""
        return asdict(self)


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
            "replaced": [each.to_json() for each in self.replaced],
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
        )

    @property
    def is_left_as_it_differs(self) -> bool:
        """Say whether it is left alone as it differs, and a plan that overwrites would write it."""
        return bool(self.message and self.message.key == plan_sentences.LEFT_ALONE.key)

    def list_drifts(self, now: PlannedClient) -> list[PlanDrift]:
        """Return in what the client is not as planned now."""
        pairs = (
            (PlanDrift.PHASE, self.phase, now.phase),
            (PlanDrift.REVISION, self.revision, now.revision),
            (PlanDrift.VERSION, self.versions, now.versions),
            (PlanDrift.CLASS, self.plan_class, now.plan_class),
        )
        return [drift for drift, planned, found in pairs if planned != found]


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

    def add(self, clients: Collection[PlannedClient]) -> None:
        """Count these clients too."""
        self.clients += len(clients)
        for client in clients:
            self.classes[str(client.plan_class)] += 1
            self.writes.update(client.writes.values())
            self.present += len(client.versions)
            self.spared += client.is_left_as_it_differs

    def to_json(self) -> dict[str, Any]:
        """Return the numbers as plans store them."""
        return dict(vars(self))

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """Return the numbers that `to_json` stored; all are 0 before the first look has ended."""
        classes, writes = Counter(data.get("classes", {})), Counter(data.get("writes", {}))
        plain = {name: data.get(name, 0) for name in ("clients", "present", "spared")}
        return cls(classes=classes, writes=writes, **plain)


class PlanRowQuerySet(models.QuerySet["PlanRow"]):
    def add(self, plan_id: int, look: UUID, clients: Collection[PlannedClient]) -> None:
        """Store what a look at the plan's clients has found of these."""
        self.bulk_create(
            PlanRow(
                plan_id=plan_id,
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

    def list_between_ids(self, after: int, up_to: int | None) -> list[PlannedClient]:
        """Return the clients with an id above `after`, up to and with `up_to`; None: to the end."""
        found = self.filter(client_id__gt=after)
        return (found if up_to is None else found.filter(client_id__lte=up_to)).list_clients()

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
    """One client of a plan, as one look found it. Of a plan that was looked at twice only its own look counts."""

    plan = models.ForeignKey("RunPlan", models.CASCADE, related_name="every_row", db_index=False)
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
                fields=["plan", "look", "client_id"], name="one_row_a_client_and_look"
            )
        ]
        indexes: ClassVar = [
            # For a page that names the first of each class.
            models.Index(fields=["plan", "look", "plan_class", "client_id"], name="planrow_class")
        ]

    def __str__(self) -> str:
        return f"client {self.client_id} in plan {self.plan_id}"
