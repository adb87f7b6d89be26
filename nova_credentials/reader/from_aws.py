"""Reads AWS for the reader, in the caller's thread or beside it under a time limit. Knows no PostgreSQL."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, TypeVar

from nova_credentials.aws.client_secrets import legal_secret_names, read_client
from nova_credentials.aws.secrets_manager import SecretsManager
from nova_credentials.document import Layout, join_parts

if TYPE_CHECKING:
    from collections.abc import Callable

    from nova_credentials.credential_types import CredentialType
    from nova_credentials.document import Document
    from nova_credentials.reader.process_notes import ProcessNotes

_Read = TypeVar("_Read")

# When this many reads hang, the next one fails at once.
THREADS = 16
ATTEMPTS = 3
CALLER = "nova-reader"  # by it CloudTrail tells NOVA's reads from the site's (nova-admin)


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
        self._sm: SecretsManager | None = None
        self._manager_lock = threading.Lock()
        self._free = threading.BoundedSemaphore(THREADS)

    def read_document(self, secret_slug: str, layout: Layout | None) -> Document:
        """Read the client's document; raises SecretsManagerError or DocumentError. `layout`: its own, if known."""
        layout = layout or self._layout
        names = legal_secret_names(secret_slug, prefix=self._prefix, layout=layout)
        return read_client(self._get_manager(), names, layout=layout).to_document()

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

    def start_reading(self, secret_slug: str, layout: Layout | None = None) -> Future[Document]:
        """Start reading the client's document in a daemon thread; return its future."""
        return self._start(lambda: self.read_document(secret_slug, layout))

    def start_reading_pending(
        self, secret_slug: str, layout: Layout | None, credential_type: CredentialType
    ) -> Future[Document | None]:
        """Start `read_pending` in a daemon thread; return its future."""
        return self._start(lambda: self.read_pending(secret_slug, layout, credential_type))

    def _start(self, read: Callable[[], _Read]) -> Future[_Read]:
        answer: Future[_Read] = Future()
        if not self._free.acquire(blocking=False):
            answer.set_exception(TimeoutError("too many reads of AWS hang"))
            return answer
        try:
            threading.Thread(target=self._read_into, args=(answer, read), daemon=True).start()
        except RuntimeError as error:  # no more threads, or the interpreter ends
            self._free.release()
            answer.set_exception(error)
        return answer

    def _read_into(self, answer: Future[_Read], read: Callable[[], _Read]) -> None:
        try:
            answer.set_result(read())
        except Exception as error:  # noqa: BLE001 (whatever it is, the caller has PostgreSQL's value)
            answer.set_exception(error)
        finally:
            self._free.release()

    def _get_manager(self) -> SecretsManager:
        with self._manager_lock:
            if self._sm is None:
                self._sm = SecretsManager(
                    self._region,
                    connect_timeout=self._timeout,
                    read_timeout=self._timeout,
                    max_attempts=ATTEMPTS,
                    pool=THREADS,
                    caller=CALLER,
                )
                if self._notes:
                    # Nothing is asked of AWS for it, unlike GetCallerIdentity.
                    events = self._sm.sm.meta.events
                    events.register(
                        "before-send.secrets-manager", self._notes.remember_access_key_end
                    )
            return self._sm
