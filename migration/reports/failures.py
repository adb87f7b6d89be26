"""Says in words what clients failed in."""

from __future__ import annotations

from django.utils.translation import ngettext

from migration.runs.items import Act


def pluralize_failed_clients(act: Act, number: int) -> str:
    """Return the words that follow the number of clients that failed in `act`, in the page's language."""
    return {
        Act.PUSH: ngettext(
            "client failed in its newest push or migration",
            "clients failed in their newest push or migration",
            number,
        ),
        Act.COMPARE: ngettext(
            "client failed in its newest comparison",
            "clients failed in their newest comparison",
            number,
        ),
        Act.ROTATE: ngettext(
            "client was not rotated by its newest run of rotations",
            "clients were not rotated by their newest run of rotations",
            number,
        ),
        Act.MOVE: ngettext(
            "client was not moved by its newest run of moves",
            "clients were not moved by their newest run of moves",
            number,
        ),
        Act.LAYOUT: ngettext(
            "client kept its layout in its newest change of layout",
            "clients kept their layout in their newest change of layout",
            number,
        ),
        Act.SECRET_SETTINGS: ngettext(
            "client has secrets that its newest run of key and regions left otherwise",
            "clients have secrets that their newest run of key and regions left otherwise",
            number,
        ),
        Act.TO_AWS: ngettext(
            "client was not copied to AWS by its newest run of copies",
            "clients were not copied to AWS by their newest run of copies",
            number,
        ),
        Act.TO_POSTGRES: ngettext(
            "client was not copied to PostgreSQL by its newest run of copies",
            "clients were not copied to PostgreSQL by their newest run of copies",
            number,
        ),
        Act.TEST_LOGINS: ngettext(
            "client has a login that failed in its newest test",
            "clients have a login that failed in their newest test",
            number,
        ),
    }[act]
