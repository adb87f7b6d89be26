"""Reads AWS for the reader, in the caller's thread or beside it under a time limit. Knows no PostgreSQL.

AWS's failures and this process's own haste are told apart: AWS's client is made outside the limit, and a read that was
not given the whole limit, as no thread was free, ends in a `CongestionError`.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from concurrent.futures import Future
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from nova_credentials.aws.answers import PROCESS_IS_BUSY, ErrorClass, SecretsManagerError
from nova_credentials.aws.client_secrets import legal_secret_names, read_client
from nova_credentials.aws.secrets_manager import SecretsManager
from nova_credentials.document import Layout, join_parts

if TYPE_CHECKING:
    from collections.abc import Callable

    from nova_credentials.credential_types import CredentialType
    from nova_credentials.document import Document
    from nova_credentials.reader.process_notes import ProcessNotes

_Read = TypeVar("_Read")

# This many reads are made at once beside their callers; the others wait for one of these threads.
THREADS = 16
ATTEMPTS = 3
CALLER = "nova-reader"  # by it CloudTrail tells NOVA's reads from the site's (nova-admin)
# Importing boto3 and finding this process's AWS credentials, which may ask a server or start a program. Whoever comes
# later than this waits for it no longer.
CLIENT_SECONDS = 10.0


class CongestionError(SecretsManagerError):
    """Say that this process had no AWS client, no free thread or no time left: AWS did not fail."""

    def __init__(self, name: str) -> None:
        super().__init__(ErrorClass.UNAVAILABLE, PROCESS_IS_BUSY, "GetSecretValue", name)


class AskedRead(Future[_Read], Generic[_Read]):
    """A read of AWS in a thread beside its caller's."""

    def __init__(self, read: Callable[[], _Read]) -> None:
        super().__init__()
        self.read = read
        self.began: float | None = None  # on the monotonic clock; None: no thread was free yet

    def run(self) -> None:
        try:
            self.set_result(self.read())
        except Exception as error:  # noqa: BLE001 (whatever it is, the caller has PostgreSQL's value)
            self.set_exception(error)


class AwsReader:
    """Reads clients' documents from Secrets Manager; any number of threads may read at once."""

    def __init__(
        self,
        *,
        region: str,
        prefix: str,
        layout: Layout,
        timeout: float,
        notes: ProcessNotes | None = None,
    ) -> None:
        self._region, self._prefix, self._layout = region, prefix, layout
        self._timeout, self._notes = timeout, notes
        self._lock = threading.Lock()
        self._making: AskedRead[SecretsManager] | None = None
        self._client_made_at = 0.0
        # A process's first call opens the first connection too, which has the limit's time once more for it.
        self._first_call_ended = False
        self._waiting: deque[AskedRead[Any]] = deque()
        self._threads = 0

    def read_document(self, secret_slug: str, layout: Layout | None) -> Document:
        """Read the client's document; raises SecretsManagerError or DocumentError. `layout`: its own, if known."""
        layout = layout or self._layout
        names = legal_secret_names(secret_slug, prefix=self._prefix, layout=layout)
        sm = self._get_manager(next(iter(names.values())))
        try:
            return read_client(sm, names, layout=layout).to_document()
        finally:
            self._first_call_ended = True

    def read_pending(
        self, secret_slug: str, layout: Layout | None, credential_type: CredentialType
    ) -> Document | None:
        """Read the document that a rotation of this type is about to make current; None outside a rotation.

        Raises as `read_document` does.
        """
        layout = layout or self._layout
        names = legal_secret_names(secret_slug, prefix=self._prefix, layout=layout)
        part = "client" if layout == Layout.CLIENT else credential_type.value
        pending = self._get_manager().get_stage(names[part], "AWSPENDING")
        return join_parts({part: pending.to_document()}, layout=layout) if pending else None

    def start_reading(self, secret_slug: str, layout: Layout | None = None) -> AskedRead[Document]:
        """Start reading the client's document in a daemon thread; return its future."""
        return self._start(lambda: self.read_document(secret_slug, layout))

    def start_reading_pending(
        self, secret_slug: str, layout: Layout | None, credential_type: CredentialType
    ) -> AskedRead[Document | None]:
        """Start `read_pending` in a daemon thread; return its future."""
        return self._start(lambda: self.read_pending(secret_slug, layout, credential_type))

    def end_of_limit(self) -> float:
        """Wait for the AWS client; return when, on the monotonic clock, the time limit of who asks now is over."""
        try:
            self._get_manager()
        except CongestionError:
            return time.monotonic()
        except Exception:  # noqa: BLE001, S110 (it is the read's error too)
            pass
        return time.monotonic() + self._timeout * (1 if self._first_call_ended else 2)

    def collect(self, asked: Future[_Read], until: float) -> _Read:
        """Wait for a read that was started; `until` is of `end_of_limit`. Raises the read's error.

        Raises TimeoutError where AWS is late, and CongestionError where it wasn't given the whole limit.
        """
        with suppress(TimeoutError):
            asked.exception(timeout=until - time.monotonic())
        if asked.done():
            return asked.result()
        with self._lock, suppress(ValueError):
            self._waiting.remove(asked)  # type: ignore[arg-type]  # nobody waits for it any more
        began = getattr(asked, "began", None)
        if began is None or max(began, self._client_made_at) + self._timeout > until:
            raise CongestionError("")
        raise TimeoutError("AWS is late")

    def _start(self, read: Callable[[], _Read]) -> AskedRead[_Read]:
        asked = AskedRead(read)
        with self._lock:
            self._waiting.append(asked)
            if self._threads == THREADS:
                return asked
            self._threads += 1
            asked.began = time.monotonic()
        try:
            threading.Thread(target=self._read_what_waits, daemon=True).start()
        except RuntimeError as error:  # no more threads, or the interpreter ends
            with self._lock:
                self._threads -= 1
                if asked not in self._waiting:  # another thread has taken it
                    return asked
                self._waiting.remove(asked)
            asked.set_exception(error)
        return asked

    def _read_what_waits(self) -> None:
        while asked := self._take_waiting():
            asked.run()

    def _take_waiting(self) -> AskedRead[Any] | None:
        with self._lock:
            if not self._waiting:
                self._threads -= 1
                return None
            asked = self._waiting.popleft()
            asked.began = asked.began or time.monotonic()
            return asked

    def _get_manager(self, name: str = "") -> SecretsManager:
        """Return the AWS client. Whoever comes first has it made, and all wait for it, CLIENT_SECONDS at most."""
        with self._lock:
            making, is_first = self._making, self._making is None
            if making is None:
                making = self._making = AskedRead(self._make_manager)
                making.began = time.monotonic()
        if is_first:
            try:
                threading.Thread(target=making.run, daemon=True).start()
            except RuntimeError:  # no more threads, or the interpreter ends
                making.run()
        if not making.done():
            wait_until = (making.began or 0) + CLIENT_SECONDS
            with suppress(TimeoutError):
                making.exception(timeout=wait_until - time.monotonic())
            if not making.done():
                raise CongestionError(name)
        return making.result()

    def _make_manager(self) -> SecretsManager:
        try:
            sm = SecretsManager(
                self._region,
                connect_timeout=self._timeout,
                read_timeout=self._timeout,
                max_attempts=ATTEMPTS,
                pool=THREADS,
                caller=CALLER,
            )
        except BaseException:
            self._making = None  # the next read tries anew
            raise
        if self._notes:
            # Nothing is asked of AWS for it, unlike GetCallerIdentity.
            events = sm.sm.meta.events
            events.register("before-send.secrets-manager", self._notes.remember_access_key_end)
        self._client_made_at = time.monotonic()
        return sm
