"""Owns this process' session of boto3, of which all its clients are made."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from boto3.session import Session
    from botocore.session import Session as BotocoreSession

# A session makes one client after the other: unlike its clients, it is not thread-safe.
session_lock = threading.Lock()


@lru_cache(maxsize=1)
def own_botocore_session(_pid: int) -> BotocoreSession:
    """Return the session of botocore below `own_session`."""
    from botocore.session import get_session

    session = get_session()
    parsers = session.get_component("response_parser_factory")
    parsers.set_parser_defaults(timestamp_parser=parse_aws_time)
    return session


@lru_cache(maxsize=1)
def own_session(pid: int) -> Session:
    """Return this process' session, not boto3's default one. It reads AWS's descriptions of its calls just once."""
    from boto3.session import Session

    return Session(botocore_session=own_botocore_session(pid))


def parse_aws_time(value: str | float) -> datetime:
    """Parse a time in an answer, as UTC where it is a number, as AWS sends it.

    botocore's own parser looks up the local time zone for each one, which takes longer than the rest of the secret.
    """
    from botocore.utils import parse_timestamp

    if isinstance(value, int | float):
        return datetime.fromtimestamp(value, UTC)
    parsed: datetime = parse_timestamp(value)
    return parsed
