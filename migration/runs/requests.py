"""Says where the requested runs are, and what an approval of one covers: nobody approves what the page didn't show."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db import connection
from django.urls import reverse_lazy
from django.utils.text import format_lazy

from nova_credentials.messages import Message, Sentence

# The list of the runs that wait for an approval. The settings' menu names it, before there is an address.
REQUESTS_URL = format_lazy("{}?state=requested", reverse_lazy("admin:migration_run_changelist"))

OTHER_REQUEST_SHOWN = Sentence(
    "other_request_shown",
    "Nothing was approved: this isn't the request that the page showed. Look at it again.",
)
OTHER_NUMBER_SHOWN = Sentence(
    "other_number_shown",
    "Nothing was approved: the page showed %(shown)s, and now it would be %(n)s clients. Look at it again.",
    one="Nothing was approved: the page showed %(shown)s, and now it would be %(n)s client. Look at it again.",
)
OTHER_CLIENTS_SHOWN = Sentence(
    "other_clients_shown",
    "Nothing was approved: some of the %(n)s clients are others than the page showed, or renamed. Look at it again.",
    one="Nothing was approved: the client is another than the page showed, or renamed. Look at it again.",
)


@dataclass(frozen=True)
class RequestContent:
    """What an approval of a request would cover, read at one moment; as text it travels with the approver's form."""

    # Clients that NOVA still has.
    number: int
    # Digests: of the clients' ids and slugs, and of the request's own row with all that it asks for.
    clients: str
    terms: str
    # Clients that NOVA has deleted, or renamed, since the request.
    deleted: int = 0
    renamed: int = 0

    def __str__(self) -> str:
        return f"{self.number}:{self.clients}:{self.terms}"

    def find_difference(self, shown: str | None) -> Message | None:
        """Say in what it differs from what a form showed; None where it doesn't. `shown`: None asks nothing."""
        if shown is None or shown == str(self):
            return None
        number, _colon, rest = shown.partition(":")
        if rest.partition(":")[2] != self.terms:
            return OTHER_REQUEST_SHOWN()
        if number != str(self.number):
            return OTHER_NUMBER_SHOWN(shown=number, n=self.number)
        return OTHER_CLIENTS_SHOWN(n=self.number)


def read_request_content(clients: str, terms: str, values: dict[str, Any]) -> RequestContent:
    """Return the content of a request in one query, whose rows don't grow with its clients.

    `clients` selects `client_id` and the `slug` of the request's time, or NULL; `terms` one text.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            SELECT count(present.id), encode(sha256(convert_to(coalesce(
                string_agg(concat_ws(' ', asked.client_id, present.slug), ',' ORDER BY asked.client_id), ''
            ), 'UTF8')), 'hex'),
            (SELECT encode(sha256(convert_to(coalesce(({terms}), ''), 'UTF8')), 'hex')),
            count(*) FILTER (WHERE present.id IS NULL), count(*) FILTER (WHERE present.slug <> asked.slug)
            FROM ({clients}) AS asked LEFT JOIN public.clients AS present ON present.id = asked.client_id
            """,  # noqa: S608  # constants
            values,
        )
        return RequestContent(*cursor.fetchone())
