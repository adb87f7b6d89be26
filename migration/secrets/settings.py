"""Gives secrets the tags, description, KMS key and replicas of the settings. Changes no value and no version.

What AWS last said of each secret is kept in its row, so that pages know what differs and ask AWS nothing.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext_lazy

from credentials.models import Client
from credentials.nova_columns import NovaSchemaError
from migration.core.audit import AuditEvent, EventKind
from migration.core.aws_store import secrets_manager
from migration.core.leases import hold_client_locks, refuse_lost_client_locks
from migration.core.secrets import Secret, name_secret_slug
from migration.core.sentences import NOT_OURS
from migration.core.snapshots import ClientSnapshot, read_snapshot, read_snapshots_for_page
from migration.pushes.secret_writer import load_owners
from migration.runs.engine import ItemFailedError, ItemsToRetry, process_one_by_one, works_on
from migration.runs.items import Outcome, RunItem
from migration.runs.models import Run
from nova_credentials.aws.answers import Replica, SecretDescription
from nova_credentials.aws.kms_keys import AWS_KEY, is_same_key
from nova_credentials.aws.requests import list_tags, make_description
from nova_credentials.aws.secret_settings import add_replicas, remove_replicas, update_secret
from nova_credentials.aws.secrets_manager import ErrorClass, SecretsManager, SecretsManagerError
from nova_credentials.aws.versions import CURRENT
from nova_credentials.document import name_problem
from nova_credentials.messages import Message, Sentence, in_a_row

SECRET_SETTINGS_EVENT = EventKind(
    "secret_settings", gettext_lazy("Key, replicas or tags changed"), icon="key", in_history=True
)


LOCK_WAIT_SECONDS = 5.0
COMPARED_AT_ONCE = 1000
# A worker looks at a new secret within ten minutes, if AWS answers.
LOOKED_AT_WITHIN = timedelta(hours=2)
# Each secret is looked at once a day: a call each, and a cent a month for 70 of them.
LOOKED_AT_EVERY = timedelta(days=1)
# Of secrets that AWS doesn't describe, before the rest waits for the next time, when these come last.
MOST_ERRORS = 10

logger = logging.getLogger(__name__)


KEY_UNTOLD = Sentence(
    "key_untold",
    "AWS names its KMS key %(now)s, and NOVA_KMS_KEY_ID names %(wanted)s: whether both are one key can't be told.",
)
REPLICA_FAILED = Sentence(
    "replica_failed",
    "Its replica in %(region)s failed: a secret of this name is there, or its KMS key can't be used. AWS's console"
    " says which.",
)


@dataclass(frozen=True)
class Changes:
    """What has to be changed of one secret for it to be as the settings say; as a truth value, whether anything."""

    tags: bool = False
    description: str = ""
    kms_key: str = ""
    # Region -> KMS key there: replicas that lack or failed, and those that are made anew after they were removed.
    added: dict[str, str] = field(default_factory=dict)
    removed: tuple[str, ...] = ()
    messages: tuple[Message, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.messages)

    @property
    def differs(self) -> bool:
        """Say whether something is certainly otherwise: not where two names of a key can't be compared."""
        return any(message.key != KEY_UNTOLD.key for message in self.messages)

    @property
    def may_pass_by_itself(self) -> bool:
        """Say whether a difference that is left after a change may be gone at the next look: not a failed replica."""
        stay = (KEY_UNTOLD.key, REPLICA_FAILED.key)
        return any(message.key not in stay for message in self.messages)


def describe_settings() -> dict[str, Any]:
    """Return the settings as a run keeps them: who works on it has to have the same."""
    return {"kms_key": settings.NOVA_KMS_KEY_ID, "replicas": settings.NOVA_REPLICA_REGIONS}


def hash_settings() -> str:
    """Return a short hash of the wanted KMS key, replica regions, tags and description."""
    texts = [describe_settings(), list_tags("x"), make_description("x")]
    return hashlib.sha256(json.dumps(texts, sort_keys=True).encode()).hexdigest()[:16]


TAGS_DIFFER = Sentence("tags_differ", "Its tags are not those that this site sets.")
DESCRIPTION_DIFFERS = Sentence(
    "description_differs", "Its description is not the one that this site sets."
)


def _find_changes(there: SecretDescription, *, slug: str, key_as: str = "") -> Changes:
    """Compare a secret of ours with the settings. One that is about to be deleted is left as it is.

    `key_as`: the name by which a run set the KMS key that the secret has still (`_recall_key`).
    """
    if there.deleted_at:
        return Changes()
    has_other_tags = any(there.tags.get(key) != value for key, value in list_tags(slug).items())
    description = make_description(slug)
    is_described = there.description == description
    key_message = _compare_key(there.kms_key, key_as)
    wanted: Mapping[str, str] | None = settings.NOVA_REPLICA_REGIONS
    replicas = Changes() if wanted is None else _compare_replicas(there.replicas, wanted)
    found = [TAGS_DIFFER()] if has_other_tags else []
    found += [] if is_described else [DESCRIPTION_DIFFERS()]
    found += [key_message] if key_message else []
    return Changes(
        tags=has_other_tags,
        description="" if is_described else description,
        kms_key=settings.NOVA_KMS_KEY_ID if key_message else "",
        added=replicas.added,
        removed=replicas.removed,
        messages=(*found, *replicas.messages),
    )


KEY_DIFFERS = Sentence("key_differs", "Its KMS key is %(now)s, and should be %(wanted)s.")


def _compare_key(now: str, key_as: str) -> Message | None:
    wanted = settings.NOVA_KMS_KEY_ID
    if not wanted:
        return None
    is_same = is_same_key(now, wanted)
    # AWS took the settings' name for the key that it calls `now`: only then is it known what no comparison tells.
    if is_same or (is_same is None and key_as == wanted):
        return None
    sentence = KEY_UNTOLD if is_same is None else KEY_DIFFERS
    return sentence(now=now or AWS_KEY, wanted=wanted)


REPLICA_LACKS = Sentence("replica_lacks", "It has no replica in %(region)s.")
REPLICA_KEY_DIFFERS = Sentence(
    "replica_key_differs",
    "Its replica in %(region)s has the KMS key %(now)s, and should have %(wanted)s: it is removed and made anew.",
)
REPLICA_UNWANTED = Sentence(
    "replica_unwanted",
    "It has a replica in %(region)s, which NOVA_REPLICA_REGIONS does not name: it is removed.",
)


def _compare_replicas(replicas: tuple[Replica, ...], wanted: Mapping[str, str]) -> Changes:
    """Return the changes of replicas alone. `wanted`: region -> KMS key there."""
    there = {each.region: each for each in replicas}
    removed = sorted(there.keys() - wanted.keys())
    messages = [REPLICA_UNWANTED(region=region) for region in removed]
    added = {}
    for region, key in wanted.items():
        now = there.get(region)
        if now is None:
            messages.append(REPLICA_LACKS(region=region))
        elif key and is_same_key(now.kms_key, key) is False:
            removed.append(region)
            differs = REPLICA_KEY_DIFFERS(region=region, now=now.kms_key or AWS_KEY, wanted=key)
            messages.append(differs)
        elif now.is_failed:
            messages.append(REPLICA_FAILED(region=region))
        else:
            continue
        added[region] = key
    return Changes(added=added, removed=tuple(removed), messages=tuple(messages))


def _make_stored_facts(there: SecretDescription, *, key_as: str = "") -> dict[str, Any]:
    """Return what is kept of a secret: nothing of it is secret, and AWS's own words are left out."""
    return {
        "arn": there.arn,
        "tags": {key: there.tags.get(key, "") for key in list_tags("")},
        "description": there.description[:500],
        "kms_key": there.kms_key,
        "key_as": key_as,
        "deleted": there.deleted_at is not None,
        "replicas": [[each.region, each.status, each.kms_key] for each in there.replicas],
    }


def _find_changes_from_stored_facts(
    facts: dict[str, Any], *, name: str, arn: str, slug: str
) -> Changes:
    """Compare with the settings what was kept of a secret; one that was gone or about to go has nothing to change.

    One with another ARN than the client's, which somebody made anew under its name, is told, though a run refuses it.
    """
    if not facts or facts["deleted"]:
        return Changes()
    there = SecretDescription(
        name=name,
        arn=facts["arn"],
        tags=facts["tags"],
        deleted_at=None,
        versions={},
        kms_key=facts["kms_key"],
        description=facts["description"],
        replicas=tuple(Replica(*each) for each in facts["replicas"]),
    )
    if there.arn != arn:
        return Changes(messages=(NOT_OURS(name=name),))
    return _find_changes(there, slug=slug, key_as=facts.get("key_as", ""))


@dataclass(frozen=True)
class SecretLook:
    """One secret as AWS describes it, and what has to be changed of it; or why that is not known."""

    name: str
    changes: Changes = field(default_factory=Changes)
    problem: Message | None = None


@dataclass(frozen=True)
class ClientSettingsDrift:
    """A client with secrets that are not as the settings say."""

    client_id: int
    slug: str
    secrets: list[SecretLook] = field(default_factory=list)

    @property
    def differs(self) -> bool:
        """Say whether a secret of the client certainly differs: not where two names of a key can't be compared."""
        return any(secret.changes.differs for secret in self.secrets)


@dataclass(frozen=True)
class SettingsDrift:
    """Which secrets are not as the settings say, and how many nobody has looked at."""

    clients: list[ClientSettingsDrift]
    # Secret name -> its client, of those that no worker has described yet.
    unlooked: dict[str, int]
    looked_at: int
    # Of the unlooked, those that are known for so long that a worker should have described them.
    overdue: int
    oldest: datetime | None

    @property
    def client_ids_to_look_at(self) -> set[int]:
        """Return the ids of the clients that a run has to look at: those that differ, and those not known."""
        return {client.client_id for client in self.clients} | set(self.unlooked.values())

    @property
    def _changes(self) -> Iterator[Changes]:
        return (secret.changes for client in self.clients for secret in client.secrets)

    @property
    def keys(self) -> int:
        """Count the secrets that get another KMS key."""
        return sum(bool(changes.kms_key) for changes in self._changes)

    @property
    def with_new_tags_or_description(self) -> int:
        """Count the secrets that get other tags or another description."""
        return sum(bool(changes.tags or changes.description) for changes in self._changes)

    @property
    def replicas_to_add(self) -> list[tuple[str, int]]:
        """Return region and number of the replicas that the settings would add, in the regions' order."""
        return sorted(Counter(region for each in self._changes for region in each.added).items())

    @property
    def replicas_to_remove(self) -> list[tuple[str, int]]:
        """Return region and number of the replicas that are removed."""
        return sorted(Counter(region for each in self._changes for region in each.removed).items())

    @property
    def net_new_replicas(self) -> int:
        """Return how many replicas there are more afterwards; below 0: fewer."""
        return sum(number for _, number in self.replicas_to_add) - sum(
            number for _, number in self.replicas_to_remove
        )


def find_settings_drift(client_ids: Collection[int] | None = None) -> SettingsDrift:
    """Compare what is stored of all secrets of present clients, or of these, with the settings, in one query."""
    clients: dict[int, ClientSettingsDrift] = {}
    unlooked: dict[str, int] = {}
    looked_at, overdue, oldest, since = 0, 0, None, timezone.now() - LOOKED_AT_WITHIN
    present = Secret.objects.filter(client__in=Client.objects.all())
    if client_ids is not None:
        present = present.filter(client__in=client_ids)
    present = present.annotate(secret_slug=name_secret_slug("client__"))
    rows = present.order_by("client__slug", "name").values_list(
        *("name", "arn", "client_id", "client__slug", "secret_slug"),
        *("facts", "described_at", "seen_at"),
    )
    for name, arn, client_id, slug, secret_slug, facts, at, seen_at in rows.iterator():
        # Those that it had before, under another slug, nobody needs any more.
        if not _is_named_after(secret_slug, name):
            continue
        if at is None:
            unlooked[name] = client_id
            overdue += seen_at < since
            continue
        looked_at, oldest = looked_at + 1, min(oldest or at, at)
        if changes := _find_changes_from_stored_facts(facts, name=name, arn=arn, slug=secret_slug):
            client = clients.setdefault(client_id, ClientSettingsDrift(client_id, slug))
            client.secrets.append(SecretLook(name, changes))
    return SettingsDrift(list(clients.values()), unlooked, looked_at, overdue, oldest)


def store_look(name: str, there: SecretDescription | None, *, key_as: str = "") -> None:
    """Store what AWS says of a secret now; `there` is None where AWS has no such secret, which is stored too.

    `key_as`: the name by which its KMS key was set just now. What is known from before stays for as long as AWS names
    the same key.
    """
    own = Secret.objects.filter(name=name).annotate(secret_slug=name_secret_slug("client__"))
    # None of a client that NOVA has deleted. What no push has met has no row to be stored in.
    arn, slug = own.values_list("arn", "secret_slug").first() or ("", None)
    facts = _make_stored_facts(there, key_as=key_as or _recall_key(there)) if there else {}
    Secret.objects.filter(name=name).update(
        facts=facts,
        described_at=timezone.now(),
        differs=slug is not None and _do_facts_differ(facts, name=name, arn=arn, slug=slug),
        compared_with=hash_settings(),
    )


def compare_secret(there: SecretDescription, *, slug: str) -> Changes:
    """Return what the settings would change of a secret as AWS describes it now."""
    return _find_changes(there, slug=slug, key_as=_recall_key(there))


def _recall_key(there: SecretDescription) -> str:
    """Return the name by which a run set the KMS key that the secret has still; "" where none did."""
    facts = Secret.objects.filter(name=there.name).values_list("facts", flat=True).first() or {}
    kept = facts.get("arn"), facts.get("kms_key")
    return facts.get("key_as", "") if kept == (there.arn, there.kms_key) else ""


def _is_named_after(slug: str, name: str) -> bool:
    return f"{name}/".startswith(f"{settings.NOVA_SECRET_PREFIX}/{slug}/")


def _do_facts_differ(facts: dict[str, Any], *, name: str, arn: str, slug: str) -> bool:
    changes = _find_changes_from_stored_facts(facts, name=name, arn=arn, slug=slug)
    return changes.differs and _is_named_after(slug, name)


def compare_looks_with_settings() -> None:
    """Compare with the present settings what is kept of the secrets that were compared with other ones."""
    code = hash_settings()
    others = Secret.objects.exclude(described_at=None).exclude(compared_with=code)
    columns = ("name", "arn", name_secret_slug("client__"), "facts")
    rows = others.values_list(*columns).order_by("name").iterator()
    while some := list(islice(rows, COMPARED_AT_ONCE)):
        differing: dict[bool, list[str]] = {True: [], False: []}
        for name, arn, slug, facts in some:
            differing[_do_facts_differ(facts, name=name, arn=arn, slug=slug)].append(name)
        for differs, names in differing.items():
            # Not those that somebody has described meanwhile.
            others.filter(name__in=names).update(differs=differs, compared_with=code)


def store_due_secret_states(*, seconds: float) -> None:
    """Store what AWS says of secrets not looked at for a day, oldest first, for at most `seconds`."""
    until, sm, errors = time.monotonic() + seconds, secrets_manager(), 0
    for name in Secret.objects.due_for_describing(LOOKED_AT_EVERY):
        if time.monotonic() > until or errors > MOST_ERRORS:
            break
        try:
            store_look(name, sm.describe_secret(name))
        except SecretsManagerError as error:
            if error.not_found:
                _forget_or_store_gone(name)
                continue
            logger.warning("A secret is looked at later: %s", error)
            Secret.objects.filter(name=name).update(tried_at=timezone.now())
            errors += 1
            if error.error_class in (ErrorClass.UNAVAILABLE, ErrorClass.THROTTLED):
                break


def _forget_or_store_gone(name: str) -> None:
    """Store that AWS has no such secret; forget one that was left to its deletion and is none of its client's own."""
    left = Secret.objects.filter(name=name, facts__deleted=True).first()
    if left and name not in read_snapshots_for_page([left.client_id])[left.client_id].all_names:
        left.delete()
    else:
        store_look(name, None)


def look_at_secrets(*, client_id: int) -> list[SecretLook]:
    """Ask AWS about the client's secrets, store its answers, compare with the settings. Raises `NovaSchemaError`.

    A client that NOVA has deleted has none, nor has one with a slug that no secret can be named after.
    """
    snapshot, sm = read_snapshots_for_page([client_id]).get(client_id), secrets_manager()
    looks: list[SecretLook] = []
    if snapshot is None or _find_name_problem(snapshot):
        return looks
    owners = load_owners(snapshot.all_names)
    for name in snapshot.all_names:
        try:
            there = sm.describe_secret(name)
        except SecretsManagerError as error:
            if error.not_found:
                store_look(name, None)
            else:
                looks.append(SecretLook(name, problem=error.message))
            continue
        store_look(name, there)
        if owners.is_ours(there, client_id):
            looks.append(SecretLook(name, compare_secret(there, slug=snapshot.secret_slug)))
        else:
            looks.append(SecretLook(name, problem=owners.explain_refusal(there)))
    return looks


def _find_name_problem(snapshot: ClientSnapshot) -> Message | None:
    """Say why no secret can be named after the slug: one with a slash could name another client's."""
    prefix = settings.NOVA_SECRET_PREFIX
    return name_problem(snapshot.secret_slug, prefix=prefix, layout=snapshot.layout)


SETTINGS_UNDER_WAY = Sentence(
    "settings_under_way",
    "Nothing was applied: another change of this client is in progress. Try again.",
)
SETTINGS_OF_ANOTHER_START = Sentence(
    "settings_of_another_start",
    "This process was started with another NOVA_KMS_KEY_ID or NOVA_REPLICA_REGIONS than the run. Restart site and"
    " workers with the same, and start another run.",
)
NO_SECRET_TO_SET = Sentence(
    "no_secret_to_set", "It has no secret in AWS, or their deletion is scheduled."
)


def apply_settings(
    *,
    client_id: int,
    wanted: dict[str, Any],
    by: User | None = None,
    interactive: bool = True,
) -> tuple[Outcome, Message | None]:
    """Apply the settings to one client's secrets; return the outcome as an item of a run, and what is said of it.

    Each secret is described, changed where it differs, and described again: killed anywhere, it can be done again.
    `wanted`: the settings as they were planned. Raises `ItemFailedError`, `Client.DoesNotExist` and `LeaseLostError`.
    """
    if wanted != describe_settings():
        raise ItemFailedError(SETTINGS_OF_ANOTHER_START())
    with hold_client_locks([client_id], wait_seconds=LOCK_WAIT_SECONDS) as held:
        if not held:
            raise ItemFailedError(SETTINGS_UNDER_WAY(), ErrorClass.UNAVAILABLE)
        try:
            snapshot = read_snapshot(client_id)
        except NovaSchemaError as error:
            raise ItemFailedError(error.message, ErrorClass.SCHEMA) from None
        if problem := _find_name_problem(snapshot):
            return Outcome.SKIPPED, problem
        sm = secrets_manager(interactive=interactive)
        applied: list[tuple[Outcome, Message | None]] = []
        problems: list[ItemFailedError] = []
        for name in snapshot.all_names:
            try:
                applied += _apply_to_secret(snapshot, sm, name, by=by)
            except ItemFailedError as refusal:
                problems.append(refusal)
    if problems:
        passing = next((p for p in problems if p.error_class != ErrorClass.CONFLICT), problems[0])
        why = in_a_row(*(each.message for each in problems)) or passing.message
        raise ItemFailedError(why, passing.error_class)
    if not applied:
        return Outcome.SKIPPED, NO_SECRET_TO_SET()
    is_changed = any(outcome == Outcome.UPDATED for outcome, _ in applied)
    message = in_a_row(*(message for _, message in applied))
    return (Outcome.UPDATED if is_changed else Outcome.UNCHANGED), message


@works_on(Run.Kind.SECRET_SETTINGS, together=1)
def process_setting_items(run: Run, items: dict[int, RunItem]) -> ItemsToRetry:
    """Apply the key and region settings to each item's client; return items that may succeed at another try."""
    wanted = run.secret_settings or {}

    def apply(client_id: int) -> tuple[Outcome, Message | None]:
        return apply_settings(client_id=client_id, wanted=wanted, by=run.by, interactive=False)

    return process_one_by_one(run, items, apply)


SETTINGS_NOT_APPLIED = Sentence("settings_not_applied", "%(name)s: %(error)s")
SETTINGS_STILL_DIFFER = Sentence("settings_still_differ", "%(name)s: %(differences)s")
SETTINGS_APPLIED = Sentence("settings_applied", "%(name)s: fixed: %(differences)s")


def _apply_to_secret(
    snapshot: ClientSnapshot, sm: SecretsManager, name: str, *, by: User | None
) -> Iterator[tuple[Outcome, Message | None]]:
    """Yield the outcome of a secret and what was otherwise; nothing where there is none. Raises `ItemFailedError`."""
    try:
        there = sm.describe_secret(name)
        store_look(name, there)
        if begun := _find_interrupted_change(there):
            _record_change(snapshot, name, begun, by=by)
        if there.deleted_at:
            return
        if not (owners := load_owners([name])).is_ours(there, snapshot.client_id):
            raise ItemFailedError(owners.explain_refusal(there))
        changes = compare_secret(there, slug=snapshot.secret_slug)
        after = _change(snapshot, sm, there, changes, by=by) if changes else there
    except SecretsManagerError as error:
        if error.not_found and error.operation == "DescribeSecret":
            store_look(name, None)
            return
        message = SETTINGS_NOT_APPLIED(name=name, error=error.message)
        raise ItemFailedError(message, error.error_class) from None
    left = compare_secret(after, slug=snapshot.secret_slug)
    if left.differs:
        message = SETTINGS_STILL_DIFFER(name=name, differences=left.messages)
        # AWS answers what was before for a moment, and takes its time to remove a replica.
        error_class = ErrorClass.UNAVAILABLE if left.may_pass_by_itself else ErrorClass.CONFLICT
        raise ItemFailedError(message, error_class)
    _require_readable(sm, after)
    if changes:
        yield Outcome.UPDATED, SETTINGS_APPLIED(name=there.name, differences=changes.messages)
    else:
        yield Outcome.UNCHANGED, None


def _find_interrupted_change(there: SecretDescription) -> Message | None:
    """Return what a process that was killed, or had no answer, has changed of the secret; None where nothing was."""
    begun = Secret.objects.filter(name=there.name).values_list("begun", "begun_on").first()
    what, before = begun or (None, None)
    return None if before == _make_stored_facts(there) else what


def _change(
    snapshot: ClientSnapshot,
    sm: SecretsManager,
    there: SecretDescription,
    changes: Changes,
    *,
    by: User | None,
) -> SecretDescription:
    """Change what differs, and describe the secret again. By its ARN: another one may get this name meanwhile.

    The audit has it as soon as AWS has taken the first change, whatever becomes of the others. Of a change of which
    nobody learned whether AWS took it, the next try learns it.
    """
    what = SETTINGS_APPLIED(name=there.name, differences=changes.messages)
    # Kept until the audit has it: a killed process can't tell it.
    Secret.objects.filter(name=there.name).update(begun=what, begun_on=_make_stored_facts(there))
    steps = _apply_changes(snapshot, sm, there, changes)
    try:
        next(steps)
    except SecretsManagerError as error:
        if error.error_class != ErrorClass.UNAVAILABLE:
            _end_change(there.name)  # AWS took nothing
        raise
    _record_change(snapshot, there.name, what, by=by)
    for _step in steps:
        pass
    after = sm.describe_secret(there.arn)
    store_look(there.name, after, key_as=changes.kms_key)
    return after


def _record_change(snapshot: ClientSnapshot, name: str, what: Message, *, by: User | None) -> None:
    with transaction.atomic():
        refuse_lost_client_locks()
        AuditEvent.objects.record(
            SECRET_SETTINGS_EVENT,
            what,
            by=by,
            client_id=snapshot.client_id,
            slug=snapshot.slug,
        )
        _end_change(name)


def _end_change(name: str) -> None:
    """Forget the change of this secret that was begun, in the transaction in which the audit has it."""
    Secret.objects.filter(name=name).update(begun=None, begun_on=None)


def _apply_changes(
    snapshot: ClientSnapshot, sm: SecretsManager, there: SecretDescription, changes: Changes
) -> Iterator[None]:
    """Make the changes that are wanted, of which there is one at least; yields after each."""
    if changes.tags:
        sm.tag_secret(there.arn, slug=snapshot.secret_slug)
        yield
    if changes.description or changes.kms_key:
        values = {"description": changes.description, "kms_key": changes.kms_key}
        update_secret(sm, there.arn, **values)
        yield
    left: set[str] = set()
    if changes.removed:
        left = remove_replicas(sm, there.arn, changes.removed)
        yield
    # One that isn't gone yet would have AWS refuse the others, too.
    if added := {region: key for region, key in changes.added.items() if region not in left}:
        add_replicas(sm, there.arn, added)
        yield


KEY_READS_NOT = Sentence(
    "key_reads_not",
    "%(name)s has the right KMS key, but this site can't read it: %(error)s Check the key's state and policy. "
    "NOVA may be refused too.",
)


def _require_readable(sm: SecretsManager, there: SecretDescription) -> None:
    """Raise `ItemFailedError` where the site can't read a secret that has a value, with the key of the settings."""
    has_value = any(CURRENT in stages for stages in there.versions.values())
    if not settings.NOVA_KMS_KEY_ID or not has_value:
        return
    try:
        sm.get_value(there.arn)
    except SecretsManagerError as error:
        message = KEY_READS_NOT(name=there.name, error=error.message)
        raise ItemFailedError(message, error.error_class) from None
