"""Owns the versions of a client's secrets in AWS: lists them, restores a former one, takes a forgotten AWSPENDING off.

Holds values in memory alone; what it stores and says names versions, logins and fields.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from django.contrib.auth.models import User
from django.utils import timezone
from django.utils.crypto import salted_hmac
from django.utils.translation import gettext_lazy

from credentials.copying import (
    RowNotInAwsError,
    build_document_with_secrets,
    copy_document_into_rows,
    list_rows_missing_in_document,
    pick_values_behind_pointers,
    read_purged_secrets,
)
from credentials.models import Client, save_columns
from credentials.secret_names import find_name_problem
from credentials.triggers import writes_are_counted
from migration.core.audit import (
    PUSH_EVENT,
    AuditEvent,
    EventKind,
    first_id_at,
    require_storable_reason,
)
from migration.core.aws_store import make_aws_copy, secret_names, secrets_manager
from migration.core.aws_writes import TEST_LOGIN, find_write_refusal
from migration.core.clients import ClientMigration
from migration.core.comparisons import Comparison, Resolution
from migration.core.leases import hold_client_locks, refuse_lost_client_locks
from migration.core.outgoing import PROVEN_WRONG, LoginOutcome
from migration.core.rate_limiter import rate_limiter
from migration.core.secrets import find_layout, find_other_secrets_layout
from migration.core.sentences import LOGIN_OUTCOMES, NOVA_WROTE
from migration.core.snapshots import (
    ClientSnapshot,
    read_client_with_rows,
    read_snapshot,
    reread_locked_client,
    reread_locked_snapshot,
)
from migration.logins.attempts import try_login
from migration.logins.models import ROTATION_UNDER_WAY, LoginStore, LoginTest, Rotation
from migration.logins.pending import is_made_by_site, take_pending_off
from migration.logins.testing import LOGIN_TEST_EVENT
from migration.pushes.comparisons import compare, compare_with_document
from migration.pushes.known_values import (
    note_new_values_in_aws,
    noting_rows,
    see_rows_and_purged_values,
)
from migration.pushes.models import NewValueOrigin
from migration.pushes.pushes import SHOWN_DIGITS, find_problem, push, write_document
from migration.pushes.resolutions import (
    LOCK_WAIT_SECONDS,
    NAMING_KEYS,
    TRY_AGAIN_LATER,
    NotResolved,
    list_differing_logins,
    record_resolution,
)
from migration.pushes.rows_from_aws import STORE_ERRORS, hold_rows
from migration.pushes.secret_writer import (
    REPLACED_STAGE,
    PartlyWrittenError,
    RefusedBySiteError,
    load_owners,
)
from migration.runs.items import PUSHED
from migration.secrets.settings import Changes, compare_secret
from nova_credentials import document as documents
from nova_credentials.aws.client_secrets import ClientSecrets, read_client
from nova_credentials.aws.context_threads import ContextThreads
from nova_credentials.aws.secrets_manager import (
    SecretDescription,
    SecretsManager,
    SecretsManagerError,
)
from nova_credentials.aws.versions import CURRENT, PENDING, ListedVersion, list_versions
from nova_credentials.credential_types import CredentialType
from nova_credentials.document import Document, DocumentError
from nova_credentials.messages import Message, Sentence, in_a_row
from nova_credentials.phases import Phase

VERSION_EVENT = EventKind(
    "version", gettext_lazy("Version of a secret"), icon="restore", in_history=True
)


# AWS refuses what is signed by a clock that differs more.
CLOCKS_DIFFER = timedelta(minutes=5)
MOST_ENTRIES = 1000
# As AWS takes them; what an address has instead is no version.
VERSION_ID = re.compile(r"[A-Za-z0-9-]{32,64}")
# The errors of stores that can't be read; their texts hold no value.
READ_ERRORS = (*STORE_ERRORS, RowNotInAwsError)
LOGINS_AT_ONCE = 10


@dataclass(frozen=True)
class VersionRow:
    """One version of a secret, as a page shows it."""

    id: str
    stages: tuple[str, ...]
    created_at: datetime | None
    # Its id or its stage shows it.
    is_ours: bool
    # Who had this site write it, by the audit; "" where no entry says so.
    who: str
    # The one that the last push, save or move wrote or found equal.
    is_pushed: bool

    @property
    def is_current(self) -> bool:
        return CURRENT in self.stages

    @property
    def is_pending(self) -> bool:
        return PENDING in self.stages


@dataclass(frozen=True)
class SecretRow:
    """One secret with its versions, the newest first; or the error with which AWS refused to list them."""

    name: str
    description: SecretDescription | None = None
    versions: tuple[VersionRow, ...] = ()
    error: SecretsManagerError | None = None
    # How it differs from the settings beside its value.
    changes: Changes = field(default_factory=Changes)
    # Whose it is, if not this client's.
    refusal: Message | None = None


def list_secrets(client: Client) -> Iterator[SecretRow]:
    """Yield the client's secrets, with those that a change of layout left and that are written still.

    Yields nothing where its slug can't be part of a secret's name.
    """
    own = ClientMigration.objects.filter(pk=client.pk).first() or ClientMigration()
    secret_slug = own.secret_slug or client.slug
    if find_name_problem(secret_slug, find_layout(own.layout)):
        return
    sm = secrets_manager(interactive=True)
    names = list(secret_names(secret_slug, own.layout).values())
    if own.other_secrets:
        other = find_other_secrets_layout(find_layout(own.layout), own.other_slug)
        names += secret_names(own.other_slug or secret_slug, other).values()
    owners = load_owners(names)
    for name in names:
        try:
            description, listed = sm.describe_secret(name), list_versions(sm, name)
        except SecretsManagerError as error:
            yield SecretRow(name, error=error)
            continue
        ours = {v.version_id for v in listed if is_made_by_site(name, v.version_id)}
        writers = _find_writers(client.pk, [v for v in listed if v.version_id in ours])
        pushed = owners.known[name].version_id if name in owners.known else ""
        rows = tuple(
            VersionRow(
                id=version.version_id,
                stages=version.stages,
                created_at=version.created_at,
                # A copy keeps under this stage what it replaces, in a version whose id proves nothing.
                is_ours=version.version_id in ours or REPLACED_STAGE in version.stages,
                who=writers.get((name, version.version_id[:SHOWN_DIGITS]), ""),
                is_pushed=version.version_id == pushed,
            )
            for version in listed
        )
        if owners.is_ours(description, client.pk):
            changes = compare_secret(description, slug=secret_slug)
            yield SecretRow(name, description, rows, changes=changes)
        else:
            refusal = owners.explain_refusal(description)
            yield SecretRow(name, description, rows, refusal=refusal)


def _find_writers(client_id: int, versions: list[ListedVersion]) -> dict[tuple[str, str], str]:
    """Return (secret, beginning of a version's id) -> who had this site write it, by the audit."""
    times = [version.created_at for version in versions if version.created_at]
    if not times:
        return {}
    entries = AuditEvent.objects.filter(
        client_id=client_id, code=PUSH_EVENT, pk__gte=first_id_at(min(times) - CLOCKS_DIFFER)
    )
    return {
        (str(written.values["name"]), str(written.values["version"])): entry.who
        for entry in entries.order_by("pk")[:MOST_ENTRIES]
        for part in entry.message.parts
        for written in _list_written(part)
    }


def _list_written(part: Message) -> list[Message]:
    """Return the versions that a push's entry names; an earlier release named secrets only."""
    secrets = part.values.get("secrets")
    if not isinstance(secrets, tuple):
        return []
    written = [each for each in secrets if isinstance(each, Message)]
    return [each for each in written if {"name", "version"} <= each.values.keys()]


@dataclass(frozen=True)
class VersionPlan:
    """Holds what would change if this version were restored now. Nothing of it is stored."""

    slug: str
    name: str
    version_id: str
    phase: Phase
    # What NOVA reads now (PostgreSQL's rows, or AWS from the cutover on) beside the version.
    changes: Comparison
    # The logins that the version lacks: no row is ever deleted.
    staying: tuple[Message, ...]
    # Those that NOVA does not have so now.
    logins: tuple[VersionLogin, ...] = field(repr=False)
    former: Document = field(repr=False)

    @property
    def digest(self) -> str:
        """Return a short text by which a later plan is known to change the same."""
        seen = (self.phase, self.name, self.version_id, self.changes.list_acknowledgeable())
        return salted_hmac("migration.VersionPlan", repr(seen), algorithm="sha256").hexdigest()[:16]


def plan_restore(client_id: int, *, name: str, version_id: str) -> VersionPlan:
    """Return what restoring the version would change; nothing is stored. Raises `NotResolved` where it can't be."""
    return _make_plan(read_snapshot(client_id), name, version_id)


VERSION_RESTORED_IN_PART = Sentence(
    "version_restored_in_part",
    "AWS has a part of the values already, in %(names)s, and NOVA reads that; PostgreSQL was left as it is: %(error)s"
    " Compare both stores, then copy one way.",
    glue=", ",
)
VERSION_RESTORED_IN_POSTGRES = Sentence(
    "version_restored_in_postgres", "PostgreSQL has the values; AWS does not yet. %(why)s"
)


def restore_version(
    *,
    client_id: int,
    name: str,
    version_id: str,
    seen: str,
    reason: str,
    by: User | None = None,
    accepted_digest: str = "",
) -> Resolution:
    """Make the version's values the present ones, as a new version in AWS.

    `seen` is the digest of the plan that the user saw. The logins that change are tried first: where a server refuses
    one, nothing is restored; where that can't be found out, only if `accepted_digest` is the digest of just that. In
    phases in which PostgreSQL decides the rows are written, then pushed as after every save; from the cutover on the
    rows are changed only if AWS takes the values, and those of a purged client go to AWS alone.

    Raises `NotResolved`, `UnprovenLoginsError` and `ReasonError`.
    """
    require_storable_reason(reason)
    tried = plan_restore(client_id, name=name, version_id=version_id)
    _require_seen(tried, seen)
    version = TriedVersion(client_id, tried.slug, name, version_id, by)
    _require_working_logins(tried.logins, version=version, accepted_digest=accepted_digest)
    with hold_client_locks([client_id], wait_seconds=LOCK_WAIT_SECONDS) as held:
        if not held:
            raise NotResolved(TRY_AGAIN_LATER())
        snapshot = read_snapshot(client_id)
        plan = _make_plan(snapshot, name, version_id)
        _require_seen(plan, seen)
        if why := find_write_refusal():
            raise NotResolved(why)
        try:
            with hold_rows(client_id) as now:
                if not now.has_same_rows_as(snapshot):
                    raise NotResolved(NOVA_WROTE())
                refuse_lost_client_locks()
                began = timezone.now()
                replaced, resolution = _write_stores(plan, client_id, reason=reason, by=by)
                LoginTest.objects.forget_replaced(client_id, LoginStore.POSTGRES, replaced)
        except PartlyWrittenError as error:
            part = {key: error.message.values[key] for key in ("names", "error")}
            raise NotResolved(VERSION_RESTORED_IN_PART(**part)) from None
        except (*READ_ERRORS, RefusedBySiteError) as error:
            raise NotResolved(error.message) from None
        in_aws = plan.phase.aws_is_authority
        if not in_aws:
            (result,) = push(client_ids=[client_id], overwrite=True, interactive=True)
            in_aws = result.outcome in PUSHED
            if not in_aws:
                late = VERSION_RESTORED_IN_POSTGRES(why=result.summary_message)
                resolution.message = in_a_row(resolution.message, late)
                resolution.save(update_fields=["message"])
        if in_aws:
            LoginTest.objects.forget_replaced(client_id, LoginStore.AWS, replaced, before=began)
    if plan.phase != Phase.PURGED:
        compare(client_ids=[client_id], interactive=True)
    return resolution


RESTORES_SOMETHING_ELSE = Sentence(
    "restores_something_else",
    "Nothing was restored: the client or its values changed since you opened the page. Look at it again.",
)


def _require_seen(plan: VersionPlan, seen: str) -> None:
    if plan.digest != seen:
        raise NotResolved(RESTORES_SOMETHING_ELSE())


VERSION_MIGRATE_FIRST = Sentence(
    "version_migrate_first",
    "Nothing is restored: in this phase NOVA reads PostgreSQL and nobody writes AWS. Edit the login, or move the client"
    " to dual write first.",
)
VERSION_ROWS_ARE_NEWER = Sentence(
    "version_rows_are_newer",
    "Nothing is restored: PostgreSQL's rows were written and AWS has not got that yet, so it would be lost. Push the"
    " client first, or restore it if it is purged.",
)
VERSION_ROWS_MAY_BE_NEWER = Sentence(
    "version_rows_may_be_newer",
    "Nothing is restored: NOVA's writes are not counted now, so PostgreSQL may hold a value that would be lost.",
)
VERSION_CHANGES_NOTHING = Sentence(
    "version_changes_nothing", "Nothing was restored: NOVA already reads these values."
)


def _make_plan(snapshot: ClientSnapshot, name: str, version_id: str) -> VersionPlan:
    sm = secrets_manager(interactive=True)
    if snapshot.phase == Phase.POSTGRES:
        raise NotResolved(VERSION_MIGRATE_FIRST())
    if snapshot.push_pending:
        raise NotResolved(VERSION_ROWS_ARE_NEWER())
    if not writes_are_counted():
        raise NotResolved(VERSION_ROWS_MAY_BE_NEWER())
    try:
        secrets = read_client(sm, snapshot.names, layout=snapshot.layout)
        former = _read_former(snapshot, secrets, name, version_id, sm=sm)
        present = _find_present(snapshot, secrets)
        client = read_client_with_rows(snapshot.client_id)
        staying = tuple(list_rows_missing_in_document(client, former))
    except READ_ERRORS as error:
        raise NotResolved(error.message) from None
    # Of a secret that holds no document any more nothing can be told apart: all of the version counts as a change.
    beside = replace(snapshot, document=present if present is not None else {})
    changes = compare_with_document(beside, former)
    if not changes.mismatches:
        raise NotResolved(VERSION_CHANGES_NOTHING())
    if snapshot.phase == Phase.PURGED:
        _require_same_rows(snapshot, client, former)
    logins = tuple(list_new_logins(former, present))
    return VersionPlan(
        snapshot.slug, name, version_id, snapshot.phase, changes, staying, logins, former
    )


VERSION_GONE = Sentence(
    "version_gone", "AWS no longer has this version of %(name)s: nothing is restored."
)
VERSION_IS_CURRENT = Sentence("version_is_current", "This is the current version already.")


def _read_former(
    snapshot: ClientSnapshot,
    secrets: ClientSecrets,
    name: str,
    version_id: str,
    *,
    sm: SecretsManager,
) -> Document:
    """Return the client's document with the version in place of its secret's current one; the rest as NOVA reads it."""
    part = next((part for part, secret in snapshot.names.items() if secret == name), None)
    kept = None
    if part and VERSION_ID.fullmatch(version_id):
        kept = sm.get_version(name, version_id)
    if part is None or kept is None:
        raise NotResolved(VERSION_GONE(name=name))
    current = secrets.values.get(part)
    if current and current.version_id == version_id:
        raise NotResolved(VERSION_IS_CURRENT())
    if snapshot.phase.aws_is_authority:
        others = {
            each: value.to_document() for each, value in secrets.values.items() if each != part
        }
    elif snapshot.document is None:
        raise NotResolved(snapshot.problem or TRY_AGAIN_LATER())
    else:
        others = documents.split_document(snapshot.document, layout=secrets.layout)
    former = documents.join_parts({**others, part: kept.to_document()}, layout=secrets.layout)
    documents.parse_document(former, client_id=snapshot.client_id, client_slug=snapshot.slug)
    return former


def _find_present(snapshot: ClientSnapshot, secrets: ClientSecrets) -> Document | None:
    """Return what NOVA reads now; None where AWS decides and holds no document."""
    if not snapshot.phase.aws_is_authority:
        return snapshot.document
    try:
        return make_aws_copy(snapshot, secrets).document
    except DocumentError:
        if snapshot.phase == Phase.PURGED:
            raise
        return None


VERSION_DIFFERS_FROM_ROWS = Sentence(
    "version_differs_from_rows",
    "Nothing is restored: the tables of this purged client hold other values than the version in %(paths)s, and this"
    " site changes secrets alone there. Restore the client to AWS first.",
    glue=", ",
)


def _require_same_rows(snapshot: ClientSnapshot, client: Client, former: Document) -> None:
    """Raise `NotResolved` where the rows of a purged client hold something else than the version beside its secrets.

    AWS would hold it in a version of ours then, and the next save would write the rows' fields over it unasked.
    """
    try:
        secrets = read_purged_secrets(client, former)
        extras = pick_values_behind_pointers(client, former)
        rows = build_document_with_secrets(client, secrets, extras)
    except READ_ERRORS as error:
        raise NotResolved(error.message) from None
    found = compare_with_document(replace(snapshot, document=rows), former).read_mismatches()
    if found:
        paths = tuple(mismatch.path for mismatch in found)
        raise NotResolved(VERSION_DIFFERS_FROM_ROWS(paths=paths))


VERSION_RESTORED = Sentence("version_restored", "Version %(version)s of %(name)s was restored.")
LOGINS_NOT_IN_VERSION = Sentence(
    "logins_not_in_version", "Not in this version, and left where they are: %(rows)s.", glue=", "
)


def _write_stores(
    plan: VersionPlan, client_id: int, *, reason: str, by: User | None
) -> tuple[set[tuple[CredentialType, int | None]], Resolution]:
    """Write the rows, and AWS where it is the authority, within a transaction that holds the rows.

    Returns type and row of the logins that it changed, too.
    """
    if plan.phase == Phase.PURGED:
        replaced = _write_aws_alone(plan, client_id)
    else:
        client = reread_locked_client(client_id)
        replaced = list_differing_logins(client, plan.former)
        with noting_rows(client_id):
            copy_document_into_rows(client, plan.former)
        after = reread_locked_snapshot(client_id)
        if after.document is None or (problem := find_problem(after)):
            raise NotResolved(after.problem or problem or TRY_AGAIN_LATER())
        if plan.phase.aws_is_authority:
            write_document(after, document=after.document, overwrite=True)
    done = VERSION_RESTORED(version=shorten(plan.version_id), name=plan.name)
    stay = LOGINS_NOT_IN_VERSION(rows=plan.staying) if plan.staying else None
    told = in_a_row(done, stay)
    return replaced, record_resolution(client_id, Resolution.Kind.TO_VERSION, by, reason, told)


def _write_aws_alone(plan: VersionPlan, client_id: int) -> set[tuple[CredentialType, int | None]]:
    """Give AWS the version of a purged client; no row ever holds its secret values. Returns the logins changed."""
    client, snapshot = reread_locked_client(client_id), reread_locked_snapshot(client_id)
    secrets = read_client(secrets_manager(interactive=True), snapshot.names, layout=snapshot.layout)
    present = make_aws_copy(snapshot, secrets).document
    before, after = (read_purged_secrets(client, each) for each in (present, plan.former))
    seen = see_rows_and_purged_values(client, before, secrets.values.values())
    changed = {row: values for row, values in after.items() if before.get(row) != values}
    for row in changed:
        # A form that was opened before shows an older state: its save is refused.
        save_columns(row, [])
    write_document(reread_locked_snapshot(client_id), document=plan.former, overwrite=True)
    note_new_values_in_aws(
        client_id,
        {(row.TYPE.value, row.pk): values[row.SECRET_FIELDS[0]] for row, values in changed.items()},
        origin=NewValueOrigin.FORMER,
        before=seen,
    )
    return {(row.TYPE, row.pk) for row in changed}


KINDS = {
    "database": Sentence("version_database_login", "the database login"),
    "email": Sentence("version_mail_login", "the mail login"),
    "aws": Sentence("version_aws_login", "the AWS login"),
}
VERSION_LABELLED_LOGIN = Sentence("version_labelled_login", "%(kind)s “%(label)s”")


@dataclass(frozen=True)
class VersionLogin:
    """One login of a document: its type, its label (empty where it has none), and its fields."""

    credential_type: CredentialType
    label: str
    values: Document = field(repr=False)

    def make_row_name_message(self) -> Message:
        """Name the login for a sentence."""
        kind = KINDS[self.credential_type]()
        if not self.label:
            return kind
        return VERSION_LABELLED_LOGIN(kind=kind, label=self.label)


@dataclass(frozen=True)
class TriedVersion:
    """The version whose logins are tried, and who asked for it: the audit's entry is made of both."""

    client_id: int
    slug: str
    name: str
    version_id: str
    by: User | None


VERSION_LOGIN_UNPROVEN = Sentence(
    "version_login_unproven",
    "Whether the logins of this version work could not be found out (%(logins)s). Nothing was restored.",
    glue=", ",
)


class UnprovenLoginsError(NotResolved):
    """Whether these logins work could not be found out: somebody has to decide.

    `digest` is what they accept: these logins with these outcomes, and no others.
    """

    def __init__(self, failed: Collection[tuple[Message, LoginOutcome]]) -> None:
        told = tuple(text for text, _outcome in failed)
        super().__init__(VERSION_LOGIN_UNPROVEN(logins=told))
        key = repr([str(text) for text in told])
        hashed = salted_hmac("migration.UnprovenLoginsError", key, algorithm="sha256")
        self.digest = hashed.hexdigest()[:16]


def list_new_logins(document: Document, present: Document | None) -> Iterator[VersionLogin]:
    """Yield the logins of the document that are not so in the present one, whatever their label and place."""
    for credential_type in CredentialType:
        known = [_strip(entry) for entry in _list_entries(present or {}, credential_type)]
        for entry in _list_entries(document, credential_type):
            if _strip(entry) not in known:
                yield VersionLogin(credential_type, str(entry.get("label") or ""), entry)


def _list_entries(document: Document, credential_type: CredentialType) -> Iterator[Document]:
    primary = document.get(credential_type)
    if isinstance(primary, dict):
        yield primary
    others = document.get(credential_type.others_key)
    if isinstance(others, list):
        yield from (entry for entry in others if isinstance(entry, dict))


def _strip(entry: Document) -> Document:
    """Return what logs in, without what the site calls the login."""
    return {key: value for key, value in entry.items() if key not in NAMING_KEYS}


VERSION_LOGIN_REFUSED = Sentence(
    "version_login_refused",
    "Nothing was restored: the server refuses a login of this version (%(logins)s), so NOVA could not use it.",
    glue=", ",
)


def _require_working_logins(
    logins: Collection[VersionLogin], *, version: TriedVersion, accepted_digest: str
) -> None:
    """Try the logins; raise `NotResolved` where one can't work, `UnprovenLoginsError` where that isn't known.

    `accepted_digest` is the digest of the error that was shown and accepted: what isn't known may be accepted as it was
    shown.
    """
    failed = try_for_failures(logins, version=version)
    wrong = tuple(text for text, outcome in failed if outcome in PROVEN_WRONG)
    if wrong:
        raise NotResolved(VERSION_LOGIN_REFUSED(logins=wrong))
    if failed:
        error = UnprovenLoginsError(failed)
        if error.digest != accepted_digest:
            raise error


VERSION_LOGINS_TESTED = Sentence(
    "version_logins_tested",
    "Tested logins of version %(version)s of %(name)s: %(results)s.",
    glue="; ",
)
VERSION_TRIED_LOGIN = Sentence("version_tried_login", "%(login)s: %(outcome)s")


def try_for_failures(
    logins: Collection[VersionLogin], *, version: TriedVersion
) -> list[tuple[Message, LoginOutcome]]:
    """Try the logins, several at once, and record it; return those that didn't let us in, each with its outcome.

    They take turns with all other logins, which come later: a person waits for these.
    """
    if not logins:
        return []
    with ContextThreads(LOGINS_AT_ONCE) as threads:
        outcomes = list(threads.map(_try, logins))
    told = [
        VERSION_TRIED_LOGIN(login=login.make_row_name_message(), outcome=LOGIN_OUTCOMES[outcome]())
        for login, outcome in zip(logins, outcomes, strict=True)
    ]
    tested = VERSION_LOGINS_TESTED(
        version=shorten(version.version_id), name=version.name, results=tuple(told)
    )
    AuditEvent.objects.record(
        LOGIN_TEST_EVENT,
        tested,
        by=version.by,
        client_id=version.client_id,
        slug=version.slug,
    )
    tried = zip(told, outcomes, strict=True)
    return [(text, outcome) for text, outcome in tried if outcome != LoginOutcome.WORKS]


def _try(login: VersionLogin) -> LoginOutcome:
    rate_limiter().take_turn_before_others(TEST_LOGIN)
    return try_login(login.credential_type, login.values).outcome


def shorten(version_id: str) -> str:
    """Return the beginning of a version's id, by which people tell versions apart."""
    return f"{version_id[:SHOWN_DIGITS]}…"


PENDING_TAKEN_OFF = Sentence(
    "pending_taken_off", "Removed AWSPENDING from version %(version)s of %(name)s."
)
PENDING_IS_GONE = Sentence(
    "pending_is_gone", "Nothing was changed: this version of %(name)s has no AWSPENDING any more."
)


def take_unneeded_pending_off(
    *, client_id: int, name: str, version_id: str, by: User | None = None
) -> Message:
    """Take AWSPENDING off this version; return what was done. Raises `NotResolved` where that could lose a password.

    A rotation that was interrupted may have given the server the pending password already. So the current version's
    logins are tried first, where the two differ.
    """
    with hold_client_locks([client_id], wait_seconds=LOCK_WAIT_SECONDS) as held:
        snapshot, sm = read_snapshot(client_id), secrets_manager(interactive=True)
        if not held:
            raise NotResolved(TRY_AGAIN_LATER())
        if rotation := Rotation.objects.find_unfinished(client_id):
            raise NotResolved(ROTATION_UNDER_WAY(ago=rotation.begun_at))
        if why := find_write_refusal():
            raise NotResolved(why)
        if name not in snapshot.names.values():
            raise NotResolved(PENDING_IS_GONE(name=name))
        try:
            version = TriedVersion(client_id, snapshot.slug, name, version_id, by)
            _require_unneeded(sm, version)
            refuse_lost_client_locks()
            if not take_pending_off(sm, name, version_id):
                raise NotResolved(PENDING_IS_GONE(name=name))
        except (SecretsManagerError, DocumentError) as error:
            raise NotResolved(error.message) from None
        done = PENDING_TAKEN_OFF(name=name, version=shorten(version_id))
        AuditEvent.objects.record(
            VERSION_EVENT, done, by=by, client_id=client_id, slug=snapshot.slug
        )
    return done


PENDING_IS_FOREIGN = Sentence(
    "pending_is_foreign",
    "Nothing was changed: somebody else wrote this version of %(name)s and may be rotating it.",
)
PENDING_MAY_BE_NEEDED = Sentence(
    "pending_may_be_needed",
    "Nothing was changed: it is not proven that the current version of %(name)s still logs in (%(logins)s), so the"
    " pending one may hold the password that counts.",
    glue=", ",
)


def _require_unneeded(sm: SecretsManager, version: TriedVersion) -> None:
    """Raise `NotResolved` unless AWSPENDING is on this version of ours, and the current one is proven to log in."""
    name = version.name
    pending = sm.get_stage(name, PENDING)
    if pending is None or pending.version_id != version.version_id:
        raise NotResolved(PENDING_IS_GONE(name=name))
    if not is_made_by_site(name, version.version_id):
        raise NotResolved(PENDING_IS_FOREIGN(name=name))
    current = sm.get_value(name)
    if current.version_id != version.version_id:
        # Each login in which the two differ has to work as the current one has it.
        differing = list(list_new_logins(current.to_document(), pending.to_document()))
        tried = replace(version, version_id=current.version_id)
        if failed := try_for_failures(differing, version=tried):
            told = tuple(text for text, _outcome in failed)
            raise NotResolved(PENDING_MAY_BE_NEEDED(name=name, logins=told))
