"""Makes the checklist of a gate for pages: each line with its state and the link that mends it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypedDict

from django.http import HttpRequest
from django.urls import reverse
from django.utils.translation import gettext as _

from credentials.localization import localize
from migration.core.clients import SEARCH_PERMISSION
from migration.core.pages import (
    RESOLVE_PERMISSION,
    RUN_PERMISSION,
    ClientTab,
    get_act_url,
    get_tab_url,
)
from migration.moves.gates import (
    OVERRIDE_PERMISSION,
    Override,
    explain_shut,
    split_by_override,
)
from migration.moves.rules import COPIES_NOT_SEARCHED, Check, CheckFix
from migration.pushes.acts import make_compare_remedy, make_push_remedy
from migration.runs.plans import Remedy
from nova_credentials.messages import Message


class CheckLine(TypedDict):
    """One check as the page shows it. `remedy` is None if it passed, or if the user may do nothing about it."""

    passed: bool
    is_off: bool
    overridable: bool
    overridden: bool
    text: str
    remedy: Remedy | None


@dataclass(frozen=True)
class Checklist:
    """The checks of one client's move as of now, as a page shows them."""

    checks: list[Check]
    lines: list[CheckLine]
    override: Override | None = None
    # Who may override the lines that can be, or those that are marked, and when, in a sentence; "" where none can.
    override_note: str = ""

    @property
    def why_shut(self) -> Message | None:
        """Say in a sentence why the gate is shut; None where it is open."""
        shut = [check for check in self.checks if not check.passed]
        return explain_shut(split_by_override(shut, self.override).shut)


def show_checks(
    request: HttpRequest,
    client_id: int,
    checks: list[Check],
    *,
    back: str,
    override: Override | None = None,
    marks_overridable: bool = True,
) -> Checklist:
    """Return the checks as a page shows them, with the fixes that this user may use.

    `marks_overridable` is false where no page offers an override: then no line says that it can be overridden.
    """
    failed = [check for check in checks if not check.passed]
    # Lines are marked where some can be overridden and some can't.
    is_mixed = marks_overridable and len({check.may_be_overridden for check in failed}) > 1
    lines: list[CheckLine] = [
        {
            "passed": check.passed,
            "is_off": check.is_off,
            "overridable": is_mixed and check.may_be_overridden,
            "overridden": override is not None and override.covers(check),
            "text": localize(check.text),
            "remedy": None
            if check.passed
            else find_fix(request, back, client_id=client_id, check=check),
        }
        for check in checks
    ]
    note = _explain_override(request, failed, is_mixed=is_mixed) if marks_overridable else ""
    return Checklist(checks, lines, override, note)


def _explain_override(request: HttpRequest, failed: list[Check], *, is_mixed: bool) -> str:
    """Say who may override the lines that can be overridden, and when; "" where there is none."""
    if not any(check.may_be_overridden for check in failed):
        return ""
    if not request.user.has_perm(OVERRIDE_PERMISSION):
        if is_mixed:
            return _("An Administrator can override marked checks with a reason.")
        return _("An Administrator can override these checks with a reason.")
    if not is_mixed:
        return _("You can override these checks with a reason.")
    return _("You can override marked checks with a reason, once all others pass.")


def find_fix(request: HttpRequest, back: str, *, client_id: int, check: Check) -> Remedy | None:
    """Return what makes the check pass; None where the user may not do it."""
    logins = get_tab_url(client_id, ClientTab.LOGINS)
    # Only the one that is wanted is made: not every check is `about` something.
    fixes: dict[CheckFix, tuple[str, Callable[[], Remedy]]] = {
        CheckFix.PUSH: (
            RUN_PERMISSION,
            lambda: make_push_remedy(client_id, back),
        ),
        CheckFix.COMPARE: (
            RESOLVE_PERMISSION,
            lambda: make_compare_remedy(client_id, back),
        ),
        CheckFix.COMPARISON: (
            "migration.view_comparison",
            lambda: _make_fix_link(
                _("See the differences"), "migration_comparison_change", check.about
            ),
        ),
        CheckFix.RUN: (
            "migration.view_run",
            lambda: _make_fix_link(_("See the run"), "migration_run_change", check.about),
        ),
        CheckFix.NOVA_TABLES: (
            "credentials.view_columnmapping",
            lambda: _make_fix_link(_("See NOVA's tables"), "credentials_columnmapping_changelist"),
        ),
        CheckFix.READS: (
            "credentials.view_client",
            lambda: {
                "label": _("See NOVA's reads"),
                "url": get_tab_url(client_id, ClientTab.COMPARISON, "reads"),
            },
        ),
        CheckFix.READERS: (
            "migration.view_readerprocess",
            lambda: _make_fix_link(_("See NOVA's processes"), "migration_readerprocess_changelist"),
        ),
        CheckFix.COPIES: (
            "migration.view_copysearch",
            lambda: _make_copies_fix(request, check, back, client_id=client_id),
        ),
        CheckFix.SLUG: (
            "credentials.change_client",
            lambda: {"label": _("Change the slug"), "url": f"{logins}#id_slug"},
        ),
        CheckFix.LOGINS: (
            "credentials.view_client",
            lambda: {"label": _("See the logins"), "url": f"{logins}#client_form"},
        ),
        CheckFix.LOGIN_TESTS: (
            "credentials.view_client",
            lambda: {
                "label": _("See the login tests"),
                "url": get_tab_url(client_id, ClientTab.LOGINS, "login-tests"),
            },
        ),
        CheckFix.ADOPT: (
            RUN_PERMISSION,
            lambda: {
                "label": _("Adopt the secret…"),
                "url": get_act_url("adopt", [client_id]),
            },
        ),
        CheckFix.AWS_WRITES: (
            "migration.view_run",
            lambda: _make_fix_link(_("See AWS writes"), "migration_run_aws_writes"),
        ),
        CheckFix.CHECK_NOVA: (
            "migration.view_worker",
            lambda: _make_fix_link(_("See Health"), "migration_run_health"),
        ),
    }
    if check.fix == CheckFix.NONE:
        return {"label": _("Reload the checks"), "url": back}
    permission, make_fix = fixes[check.fix]
    return make_fix() if request.user.has_perm(permission) else None


def _make_copies_fix(request: HttpRequest, check: Check, back: str, *, client_id: int) -> Remedy:
    """Return the button that starts a search and shows how far it is; where one found something, the link to that."""
    if check.code != COPIES_NOT_SEARCHED.key or not request.user.has_perm(SEARCH_PERMISSION):
        return _make_fix_link(_("See the copies"), "migration_copysearch_report")
    return {
        "label": _("Search for copies"),
        "url": reverse("admin:migration_copysearch_start"),
        "posts": True,
        "back": back,
        "live": reverse("admin:migration_copysearch_live"),
        "client": client_id,
    }


def _make_fix_link(label: str, page: str, *pk: int | None) -> Remedy:
    return {"label": label, "url": reverse(f"admin:{page}", args=pk)}
