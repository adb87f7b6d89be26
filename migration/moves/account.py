"""Finds out what the AWS account may do, by trying it on the client's own secrets; a run tries each KMS key once."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

from migration.core.aws_store import secrets_manager
from migration.core.aws_writes import (
    WritesRefusedError,
)
from nova_credentials.aws.answers import Answers
from nova_credentials.aws.context_threads import ContextThreads
from nova_credentials.aws.secrets_manager import (
    ErrorClass,
    SecretsManager,
    SecretsManagerError,
    SecretValue,
)

# Four batches of a process together make fewer than the connections to AWS that are kept open.
CALLS_AT_ONCE = 10

# AWS takes so many a call. Names are prefixes to it, so that longer ones are listed with them: some pages at most.
PREFIXES_A_CALL, MOST_PAGES = 10, 5


@dataclass
class KmsAnswers:
    """Which KMS keys AWS lets the account read and write with: a run tries each once, and not for each client."""

    by_key: dict[tuple[str, bool], SecretsManagerError | None] = field(default_factory=dict)
    # Secret -> its KMS key, or why it can't be told, of those that were asked for ahead.
    keys: dict[str, str | SecretsManagerError] = field(default_factory=dict)
    # Secrets that the account has just read with their values.
    secrets_read: frozenset[str] = frozenset()
    # Secret -> why AWS, just asked for its value, gave no usable answer: asked again it would give none, and take long.
    unanswered: dict[str, SecretsManagerError] = field(default_factory=dict)
    # Of one client for whose move somebody waits, each secret is tried, whichever key it has.
    tries_each_secret: bool = False

    def begin_batch_without_refusals(self) -> KmsAnswers:
        """Return the answers for the next batch; refusals are dropped, so that AWS is asked again."""
        for key in [key for key, error in list(self.by_key.items()) if error]:
            self.by_key.pop(key, None)
        return KmsAnswers(self.by_key)

    def note_read(self, found: Answers) -> None:
        """Note of which secrets AWS has just given the values, and of which it gave no usable answer."""
        self.secrets_read = frozenset(
            n for n, each in found.items() if isinstance(each, SecretValue)
        )
        self.unanswered = {
            name: each
            for name, each in found.items()
            if isinstance(each, SecretsManagerError) and each.error_class == ErrorClass.UNAVAILABLE
        }

    def read_keys_of_secrets(self, names: Iterable[str], *, sm: SecretsManager) -> None:
        """Set `keys` to these secrets' KMS keys or errors: from AWS's list, else by one call for each secret.

        The list may be some minutes old, which is enough to know which secrets share a key.
        """

        def describe(name: str) -> str | SecretsManagerError:
            try:
                return sm.describe_secret(name).kms_key
            except SecretsManagerError as error:
                return error

        asked = [name for name in names if name not in self.unanswered]
        calls = [
            asked[start : start + PREFIXES_A_CALL]
            for start in range(0, len(asked), PREFIXES_A_CALL)
        ]
        with ContextThreads(CALLS_AT_ONCE) as threads:
            listed = [keys for call in threads.map(partial(_list_keys, sm), calls) for keys in call]
            self.keys = dict(listed)
            others = [name for name in asked if name not in self.keys]
            self.keys |= zip(others, threads.map(describe, others), strict=True)

    def find_key_of_secret(self, name: str, *, sm: SecretsManager) -> str:
        """Return the secret's KMS key; raises SecretsManagerError."""
        key = self.keys.get(name)
        if key is None:
            return sm.describe_secret(name).kms_key
        if isinstance(key, SecretsManagerError):
            raise key
        return key


def _list_keys(sm: SecretsManager, names: list[str]) -> list[tuple[str, str]]:
    """Return each name that AWS lists with its KMS key; none where it may not be asked, or does not answer."""
    keys: dict[str, str] = {}
    page = ""
    with suppress(SecretsManagerError):
        for _ in range(MOST_PAGES):
            found, page = sm.list_kms_keys_of_secrets(names, page)
            keys |= found
            if not page or keys.keys() >= set(names):
                break
    return [(name, keys[name]) for name in names if name in keys]


def find_account_problem(
    names: Iterable[str], *, writes: bool, answers: KmsAnswers | None = None
) -> SecretsManagerError | None:
    """Return why the account may not read, or with `writes` not write, these secrets; None if it may.

    None too where this site may not write to AWS now: that has a check of its own. With `answers`, those of the same
    run, one secret of each KMS key is tried, and others are only described.
    """
    sm = secrets_manager(interactive=True)
    try:
        for name in names:
            if answers is None:
                _try_access(sm, name, writes=writes)
            else:
                _try_access_once(sm, name, answers, writes=writes)
    except WritesRefusedError:
        return None  # this site may not write now: that has a check of its own
    except SecretsManagerError as error:
        return error
    return None


def _try_access_once(sm: SecretsManager, name: str, answers: KmsAnswers, *, writes: bool) -> None:
    if unanswered := answers.unanswered.get(name):
        raise unanswered
    if not writes and name in answers.secrets_read:
        return
    if answers.tries_each_secret:
        _try_access(sm, name, writes=writes)
        return
    try:
        key = answers.find_key_of_secret(name, sm=sm), writes
    except SecretsManagerError as error:
        if error.not_found:
            return
        raise
    if key not in answers.by_key:
        _try_key(sm, name, answers, key)
    if refused := answers.by_key.get(key):
        raise refused.for_secret(name)


def _try_key(sm: SecretsManager, name: str, answers: KmsAnswers, key: tuple[str, bool]) -> None:
    """Try this secret and keep what it says about all secrets of its KMS key; raises SecretsManagerError."""
    try:
        was_tried = _try_access(sm, name, writes=key[1])
    except WritesRefusedError:
        raise
    except SecretsManagerError as error:
        # Any other error may be this secret's own, or pass by itself.
        if error.error_class == ErrorClass.PERMISSION:
            answers.by_key[key] = error
        raise
    if was_tried:  # a secret without a value says nothing about those of other clients
        answers.by_key[key] = None


def _try_access(sm: SecretsManager, name: str, *, writes: bool) -> bool:
    """Say whether there was a value with which everything asked for could be tried; raises SecretsManagerError."""
    try:
        value = sm.get_value(name)
    except SecretsManagerError as error:
        # In the layout of one secret per service, a service without rows has none.
        if error.not_found:
            return False
        raise
    if not writes:
        return True
    if value.text is None:
        return False
    # The current version again: AWS checks the permission to write and makes no new version.
    sm.put_value(name, value.text, token=value.version_id)
    return True
