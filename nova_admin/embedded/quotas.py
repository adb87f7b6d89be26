"""Owns the quotas of Secrets Manager as token buckets. Knows no HTTP; callers keep threads apart."""

import time
from collections.abc import Callable

# Calls a second for one account and region; the operations of a group share theirs.
PER_SECOND: dict[tuple[str, ...], int] = {
    ("GetSecretValue", "DescribeSecret"): 10_000,
    ("BatchGetSecretValue",): 100,
    ("ListSecrets",): 100,
    ("CreateSecret",): 50,
    ("DeleteSecret",): 50,
    ("RestoreSecret",): 50,
    ("GetRandomPassword",): 50,
    (
        *("PutSecretValue", "UpdateSecret", "UpdateSecretVersionStage"),
        *("ReplicateSecretToRegions", "RemoveRegionsFromReplication"),
    ): 50,
    ("TagResource", "UntagResource"): 50,
}
# AWS doesn't document its burst. A bucket of a whole second would let twice the quota through in the first second, and
# a run look faster than the quota; a much smaller one would throttle a caller that keeps to the quota and is late once.
# So a bucket holds half a second's calls.
BURST_SECONDS = 0.5

Clock = Callable[[], float]


class Quotas:
    """A token bucket for each group of operations, full at first; a `scale` of 1 means AWS's quotas."""

    def __init__(
        self,
        scale: float,
        *,
        burst_seconds: float = BURST_SECONDS,
        clock: Clock = time.monotonic,
    ) -> None:
        self._buckets: dict[str, _Bucket] = {}
        for operations, rate in PER_SECOND.items():
            bucket = _Bucket(rate * scale, burst_seconds, clock)
            self._buckets |= dict.fromkeys(operations, bucket)

    def take_token(self, operation: str) -> bool:
        """Take a token and say whether there was one; a refused call costs none, as in AWS."""
        bucket = self._buckets.get(operation)
        return bucket is None or bucket.take_token()


class _Bucket:
    def __init__(self, rate: float, burst_seconds: float, clock: Clock) -> None:
        self._rate = rate
        self._capacity = max(1.0, rate * burst_seconds)
        self._clock = clock
        self._tokens = self._capacity
        self._filled_at = clock()

    def take_token(self) -> bool:
        now = self._clock()
        gained = (now - self._filled_at) * self._rate
        self._tokens, self._filled_at = min(self._capacity, self._tokens + gained), now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True
