"""Knows what all hosts must share: notes it in the database, and tells in what this process differs from the note.

Hosts of which one has another prefix, region, account or key overwrite or lose each other's work, and neither notices.
"""

from __future__ import annotations

import json
import logging
import math
import re
import threading
import time
from collections.abc import Collection, Mapping
from functools import lru_cache
from typing import Any

from django.conf import settings
from django.db import OperationalError
from django.db.backends.base.base import BaseDatabaseWrapper
from psycopg.errors import LockNotAvailable

from migration.core.audit import audit_keys
from migration.core.keys import list_fingerprint_key_ids, list_secret_key_ids
from migration.core.sentences import HOST_DIFFERS
from migration.core.write_state import SOUND_FACTS
from nova_credentials.aws.secrets_manager import SecretsManagerError
from nova_credentials.messages import Message, Sentence
from nova_credentials.tables import CLIENTS

PREFIX, REGION, ACCOUNT = "NOVA_SECRET_PREFIX", "AWS_REGION", "AWS account"
SECRET_KEY, FINGERPRINT_KEY, AUDIT_KEY = "SECRET_KEY", "NOVA_FINGERPRINT_KEY", "NOVA_AUDIT_KEY"
KEYS = (SECRET_KEY, FINGERPRINT_KEY, AUDIT_KEY)
FACTS = (PREFIX, REGION, ACCOUNT, *KEYS)
# Where clients' secrets are: another one means other secrets.
PLACE = (PREFIX, REGION, ACCOUNT)

SECRET_ARN = re.compile(r"arn:[\w-]+:secretsmanager:[\w-]+:(\d+):secret:")
# So many known secrets are looked for until one tells the account, and so long it counts that none was found.
SECRETS_ASKED = 3
NOT_FOUND_FOR_SECONDS = 30.0
LOCK_TIMEOUT = "200ms"
# Of the secrets that were seen since the account was given up, if it was; else of all.
READ_PLACES = f"""
WITH known AS (
    SELECT secret.name, split_part(arn, ':', 4) AS region, split_part(arn, ':', 5) AS account,
        coalesce(phase.secret_slug, client.slug) AS slug
    FROM migration_secret AS secret LEFT JOIN {CLIENTS} AS client ON client.id = secret.client_id
    LEFT JOIN migration_clientmigration AS phase ON phase.client_id = secret.client_id
    WHERE arn LIKE 'arn:%%:secretsmanager:%%:secret:%%' AND seen_at >= coalesce((
        SELECT max(claimed_at) FROM migration_databaseclaim WHERE facts -> '{ACCOUNT}' ->> 0 = ''
    ), '-infinity')
)
SELECT
    (SELECT left(name, -length(rest)) FROM known, unnest(ARRAY[
        '/' || slug, '/' || slug || '/database', '/' || slug || '/email', '/' || slug || '/aws'
    ]) AS rest WHERE right(name, length(rest)) = rest GROUP BY 1 ORDER BY count(*) DESC LIMIT 1),
    (SELECT region FROM known GROUP BY 1 ORDER BY count(*) DESC LIMIT 1),
    (SELECT account FROM known GROUP BY 1 ORDER BY count(*) DESC LIMIT 1)
"""  # noqa: S608  # constants
# What is noted already stays, whoever notes at the same time.
NOTE = f"""
UPDATE migration_databaseclaim
SET facts = %s::jsonb || CASE WHEN facts -> '{ACCOUNT}' ->> 0 = '' THEN {SOUND_FACTS} - '{ACCOUNT}'
    ELSE {SOUND_FACTS} END
WHERE id = (SELECT id FROM migration_databaseclaim ORDER BY facts IS NULL, id DESC LIMIT 1)
"""  # noqa: S608  # constants
NEWEST_SECRETS = """
SELECT name FROM migration_secret WHERE split_part(arn, ':', 5) = %s AND name <> ALL(%s) ORDER BY seen_at DESC LIMIT %s
"""

logger = logging.getLogger(__name__)


class SeenAccount:
    """The AWS account whose secrets this process was told of, by whatever call. Thread-safe."""

    def __init__(self) -> None:
        self._lock, self._asking = threading.Lock(), threading.Lock()
        self._account, self._not_found_at = "", -math.inf
        self._failed_at = -math.inf
        self._error: SecretsManagerError | None = None

    def note_answer(self, parsed: Mapping[str, Any], **_: object) -> None:
        """Note the account in AWS's answer. Receives botocore's `after-call`."""
        arns = [parsed.get("ARN"), *(value.get("ARN") for value in parsed.get("SecretValues", ()))]
        for arn in arns:
            if isinstance(arn, str) and (found := SECRET_ARN.match(arn)):
                with self._lock:
                    self._account, self._not_found_at = found[1], -math.inf
                return

    @property
    def account(self) -> str | None:
        """Return the account; "" if the known secrets were looked for and none is there, None if nothing is known."""
        with self._lock:
            lately = time.monotonic() - self._not_found_at <= NOT_FOUND_FOR_SECONDS
            return self._account or ("" if lately else None)

    def find(self, noted: str, *, pause: float) -> None:
        """Learn the account from known secrets, if it is not known yet; raises `SecretsManagerError`.

        That AWS doesn't answer says nothing about the account: it is asked again at the next need, but `pause` seconds
        after an error at the earliest.
        """
        began = time.monotonic()
        with self._asking:
            if self.account is not None or began - self._failed_at < pause:
                return  # another thread has asked meanwhile
            if self._error and self._failed_at > began:
                # Nor does it help to ask again what another was just not told.
                raise self._error.for_secret("")
            self._ask(noted)

    def doubt(self, noted: str, *, missing: Collection[str]) -> None:
        """Ask for known secrets beside these, as AWS has none of them; raises `SecretsManagerError`.

        Where it has none of the others either, this process reaches another account than before.
        """
        with self._asking:
            self._ask(noted, beside=missing)

    def _ask(self, noted: str, *, beside: Collection[str] = ()) -> None:
        """Learn the account from the first known secret that is there, or that none is."""
        from migration.core.aws_store import secrets_manager  # noqa: PLC0415  # it asks the guard, which asks this
        from migration.core.rate_limiter import rate_limiter  # noqa: PLC0415  # the same

        rows = rate_limiter().run_statement(
            lambda own: fetch_all(own, NEWEST_SECRETS, [noted, list(beside), SECRETS_ASKED])
        )
        for (name,) in rows:
            try:
                secrets_manager(interactive=True).describe_secret(name)
            except SecretsManagerError as error:
                if not error.not_found:
                    self._failed_at, self._error = time.monotonic(), error.for_secret("")
                    raise self._error from None
            else:
                return
        if rows or len(beside) > 1:  # one alone may have been deleted
            with self._lock:
                self._account, self._not_found_at = "", time.monotonic()

    def forget(self) -> None:
        """Know nothing, as a process that has just begun."""
        with self._lock:
            self._account, self._not_found_at, self._failed_at = "", -math.inf, -math.inf


seen_account = SeenAccount()


def fetch_all(own: BaseDatabaseWrapper, statement: str, values: list[Any]) -> list[Any]:
    with own.cursor() as cursor:
        cursor.execute(statement, values)
        return list(cursor.fetchall())


def list_own_facts() -> dict[str, tuple[str, ...]]:
    """Return of each fact with which values this process agrees; of the account none while it is not known."""
    audit, account = settings.NOVA_AUDIT, seen_account.account
    keys = _list_own_keys(
        (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS),
        settings.NOVA_FINGERPRINT_KEY,
        (audit.key, *audit.old_keys),
    )
    place = {PREFIX: (settings.NOVA_SECRET_PREFIX,), REGION: (settings.AWS_REGION,)}
    return {**place, ACCOUNT: () if account is None else (account,), **keys}


@lru_cache(maxsize=4)
def _list_own_keys(*_settings: object) -> dict[str, tuple[str, ...]]:
    return {
        SECRET_KEY: tuple(list_secret_key_ids()),
        FINGERPRINT_KEY: tuple(list_fingerprint_key_ids()),
        AUDIT_KEY: tuple(audit_keys().by_id),
    }


def find_differences(noted: Mapping[str, list[str]]) -> dict[str, tuple[str, str]]:
    """Return fact -> (here, noted) of each in which this process differs, as far as it knows.

    What is not noted yet differs from nothing.
    """
    if not noted:
        return {}
    return {
        fact: (own[0], noted[fact][0])
        for fact, own in list_own_facts().items()
        if own and fact in noted and noted[fact][0] and noted[fact][0] not in own
    }


def explain_differences(noted: Mapping[str, list[str]]) -> Message | None:
    """Say in what this process differs from what all hosts share, and log it once; None where it agrees."""
    differing = find_differences(noted)
    why = HOST_DIFFERS(facts=describe_facts(differing)) if differing else None
    _log_once(str(why) if why else "")
    return why


@lru_cache(maxsize=1)
def _log_once(text: str) -> None:
    """Log it if it is another text than the last time."""
    if text:
        logger.error("%s", text)


UNKNOWN = Sentence("unknown", "unknown")
FACT_DIFFERS = Sentence("fact_differs", "%(fact)s is %(here)s here, and %(noted)s is noted")
NO_KNOWN_SECRET = Sentence("no_known_secret", "one that has none of the newest secrets")


def describe_facts(pairs: Mapping[str, tuple[str, str]]) -> tuple[Message, ...]:
    """Return a message for each fact -> (here, noted)."""
    return tuple(
        FACT_DIFFERS(fact=fact, here=here or NO_KNOWN_SECRET(), noted=noted or UNKNOWN())
        for fact, (here, noted) in pairs.items()
    )


def is_incomplete(noted: Mapping[str, list[str]]) -> bool:
    """Say whether a fact is not noted yet."""
    return any(not noted.get(fact, [""])[0] for fact in FACTS)


def note_missing_facts(own: BaseDatabaseWrapper, noted: Mapping[str, list[str]]) -> bool:
    """Note what isn't yet: places as known secrets' ARNs have them, else as this process' settings; keys by codes.

    Says whether there was something to note; there isn't while somebody holds NOVA's table, for which nobody waits.
    """
    try:
        with own.cursor() as cursor:
            # All of this process' writes to AWS wait for this connection.
            cursor.execute(f"SET lock_timeout = '{LOCK_TIMEOUT}'")
            try:
                ((prefix, region, account),) = fetch_all(own, READ_PLACES, [])
            finally:
                cursor.execute("RESET lock_timeout")
    except OperationalError as error:
        if isinstance(error.__cause__, LockNotAvailable):
            return False
        raise
    found = {fact: list(values[:1]) for fact, values in list_own_facts().items()}
    found |= {
        fact: [value] for fact, value in ((PREFIX, prefix), (REGION, region)) if value is not None
    }
    # Not what this process has seen: until a secret is known, nobody can say which account is the right one.
    found[ACCOUNT] = [account] if account else []
    missing = {
        fact: values for fact, values in found.items() if values and not noted.get(fact, [""])[0]
    }
    if missing:
        with own.cursor() as cursor:
            cursor.execute(NOTE, [json.dumps(missing)])
    return bool(missing)
