"""The checks of a move as lines of `checklist.html`, each failed one with a link or button that helps to pass it."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

from django.urls import reverse
from django.utils.translation import gettext as _

from credentials.localization import localize
from migration.admin.base import RESOLVE_PERMISSION, RUN_PERMISSION
from migration.operations.gates import CheckFix, evaluate_gate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import NotRequired

    from django.http import HttpRequest

    from migration.operations.gates import Check
    from migration.operations.snapshots import ClientSnapshot
    from nova_credentials.phases import Phase


class FixLink(TypedDict):
    """A link to `url`, or a button that posts `back`, the address to return to, and the resolution's `kind` to it."""

    label: str
    url: str
    posts: NotRequired[bool]
    back: NotRequired[str]
    kind: NotRequired[str]


class CheckLine(TypedDict):
    """One check as the page shows it. `remedy` is None if it passed, or if the user may do nothing about it."""

    passed: bool
    text: str
    remedy: FixLink | None


def make_checklist(
    request: HttpRequest, snapshot: ClientSnapshot, new: Phase, *, back: str
) -> list[CheckLine]:
    """Return every check of the move as of now. Reads both stores."""
    return list_check_lines(request, snapshot.client_id, evaluate_gate(snapshot, new), back=back)


def list_check_lines(
    request: HttpRequest, client_id: int, checks: Iterable[Check], *, back: str
) -> list[CheckLine]:
    """Return a line for each check, with the fixes that this user may use."""
    return [
        {
            "passed": check.passed,
            "text": localize(check.text),
            "remedy": None if check.passed else _find_fix(request, client_id, check, back),
        }
        for check in checks
    ]


def _find_fix(request: HttpRequest, client_id: int, check: Check, back: str) -> FixLink | None:
    fixes: dict[CheckFix, tuple[str, Callable[[], FixLink]]] = {
        CheckFix.PUSH: (
            RUN_PERMISSION,
            lambda: _make_button(_("Push this client now"), "push", client_id, back),
        ),
        CheckFix.COMPARE: (
            RESOLVE_PERMISSION,
            lambda: {
                **_make_button(_("Compare both stores now"), "resolve", client_id, back),
                "kind": "check",
            },
        ),
        CheckFix.COMPARISON: (
            "migration.view_comparison",
            lambda: _make_link(
                _("See the differences"), "migration_comparison_change", check.about
            ),
        ),
        CheckFix.RUN: (
            "migration.view_run",
            lambda: _make_link(_("See the run"), "migration_run_change", check.about),
        ),
        CheckFix.NOVA_TABLES: (
            "credentials.view_columnmapping",
            lambda: _make_link(_("See NOVA's tables"), "credentials_columnmapping_changelist"),
        ),
        CheckFix.READS: (
            "credentials.view_client",
            lambda: _make_link(_("See NOVA's reads"), "credentials_client_change", client_id),
        ),
    }
    if check.fix == CheckFix.NONE:
        return {"label": _("Reload the checks"), "url": back}
    permission, make_fix = fixes[check.fix]
    return make_fix() if request.user.has_perm(permission) else None


def _make_button(label: str, action: str, client_id: int, back: str) -> FixLink:
    url = reverse(f"admin:credentials_client_{action}", args=[client_id])
    return {"label": label, "url": url, "posts": True, "back": back}


def _make_link(label: str, page: str, *pk: int | None) -> FixLink:
    return {"label": label, "url": reverse(f"admin:{page}", args=pk)}
