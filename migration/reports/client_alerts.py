"""Lists the alerts about what is done with single clients: rotations, offboardings, values that stood in plain text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from migration.core.clients import VIEW_CLIENTS, VIEW_RUNS
from migration.reports.alert import Action, Alert, get_clients_url

if TYPE_CHECKING:
    from collections.abc import Iterator

    from migration.reports.alert import AlertData


def alert_rotations(data: AlertData) -> Iterator[Alert]:
    """Alert to clients whose rotation stopped, waits, or is overdue."""
    for which, number in data.work.rotations.items():
        if number:
            url = f"{get_clients_url()}?rotation={which}"
            action = Action(_("See the clients"), url, VIEW_CLIENTS)
            sentence = _describe_rotations(which, number)
            yield Alert(sentence, url, VIEW_CLIENTS, count=number, actions=(action,))


def _describe_rotations(which: str, number: int) -> str:
    return {
        "stopped": ngettext(
            "client's rotation stopped: somebody has to look which password is valid",
            "clients' rotations stopped: somebody has to look which password is valid",
            number,
        ),
        "unfinished": ngettext(
            "client's rotation is not finished: the workers try it every minute",
            "clients' rotations are not finished: the workers try them every minute",
            number,
        ),
        "overdue": ngettext(
            "client's database password is overdue for its rotation",
            "clients' database passwords are overdue for their rotation",
            number,
        ),
    }[which]


def alert_plain_text_not_rotated(data: AlertData) -> Iterator[Alert]:
    """Alert to clients with a credential that somebody may have read where it stood in clear."""
    if number := data.clients_to_rotate:
        sentence = ngettext(
            "client has a credential that stood in plain text and was not rotated since",
            "clients have credentials that stood in plain text and were not rotated since",
            number,
        )
        url = f"{get_clients_url()}?plain_text=rotate"
        action = Action(_("See the clients"), url, VIEW_CLIENTS)
        yield Alert(sentence, url, VIEW_CLIENTS, count=number, actions=(action,))


def alert_secret_settings(data: AlertData) -> Iterator[Alert]:
    """Alert to clients with secrets whose tags, description, KMS key or replicas are not as the settings say."""
    if number := data.work.differing_secrets:
        sentence = ngettext(
            "client has secrets whose tags, description, KMS key or replicas are not as the settings say",
            "clients have secrets whose tags, description, KMS key or replicas are not as the settings say",
            number,
        )
        url = f"{get_clients_url()}?settings=differ"
        actions = (
            Action(_("See the clients"), url, VIEW_CLIENTS),
            Action(
                _("See key and regions"), reverse("admin:migration_run_secret_settings"), VIEW_RUNS
            ),
        )
        yield Alert(sentence, url, VIEW_CLIENTS, count=number, actions=actions)


def alert_interrupted_offboardings(data: AlertData) -> Iterator[Alert]:
    """Alert to clients that left, or came back, in part only."""
    if number := data.work.interrupted_offboardings:
        sentence = ngettext(
            "client was offboarded or brought back in part only: do it again on its page",
            "clients were offboarded or brought back in part only: do it again on their pages",
            number,
        )
        url = f"{get_clients_url()}?active=interrupted"
        action = Action(_("See the clients"), url, VIEW_CLIENTS)
        yield Alert(sentence, url, VIEW_CLIENTS, count=number, actions=(action,))


def alert_secrets_of_deleted_clients(data: AlertData) -> Iterator[Alert]:
    """Alert to secrets that AWS still has of clients that NOVA deleted."""
    if number := data.work.secrets_of_deleted_clients:
        sentence = ngettext(
            "secret in AWS is of a client that NOVA deleted",
            "secrets in AWS are of clients that NOVA deleted",
            number,
        )
        url = f"{reverse('admin:migration_run_secret_settings')}#deleted-clients"
        action = Action(_("See the secrets"), url, VIEW_RUNS)
        yield Alert(sentence, url, VIEW_RUNS, count=number, actions=(action,))
