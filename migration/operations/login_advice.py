"""Says which store to copy from, by the logins that both stores' values were tried for. Pure: reads no table."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from migration import login_sentences
from migration.core.outgoing import LoginOutcome
from migration.models.login_tests import LoginStore

if TYPE_CHECKING:
    from collections.abc import Iterable

    from migration.models.login_tests import LoginTest
    from nova_credentials.messages import Message


class CopyAdvice(StrEnum):
    """The direction in which a mismatch is best resolved."""

    TO_AWS = "to_aws"
    TO_POSTGRES = "to_postgres"
    MIXED = "mixed"  # each store has a login that is right where the other's is wrong
    EITHER = "either"
    NEITHER = "neither"
    UNCLEAR = "unclear"

    @property
    def message(self) -> Message:
        """Say it in a sentence."""
        return login_sentences.ADVICE[self]()


def advise_copy(tests: Iterable[LoginTest]) -> CopyAdvice | None:
    """Return which way to copy; None where no login was tried with the values of both stores.

    Only a login that works beside one that is refused shows who is right: a server that can't be reached says nothing.
    """
    outcomes: dict[tuple[str, int | None, str], dict[str, str]] = {}
    for test in tests:
        wrong = LoginOutcome.REFUSED.value if test.is_proven_wrong else test.outcome
        outcomes.setdefault(test.key_within_client_and_store, {})[test.store] = wrong
    pairs = {
        (by_store[LoginStore.POSTGRES], by_store[LoginStore.AWS])
        for by_store in outcomes.values()
        if len(by_store) == len(LoginStore)
    }
    if not pairs:
        return None
    works, refused = LoginOutcome.WORKS.value, LoginOutcome.REFUSED.value
    to_aws, to_postgres = (works, refused) in pairs, (refused, works) in pairs
    if to_aws or to_postgres:
        both = CopyAdvice.MIXED
        return (
            both
            if to_aws and to_postgres
            else (CopyAdvice.TO_AWS if to_aws else CopyAdvice.TO_POSTGRES)
        )
    if (refused, refused) in pairs:
        return CopyAdvice.NEITHER
    return CopyAdvice.EITHER if pairs == {(works, works)} else CopyAdvice.UNCLEAR
