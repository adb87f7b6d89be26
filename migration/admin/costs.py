"""The page about the cost: what `cost_estimate` prints, with other assumptions where somebody enters some."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from django import forms
from django.template.defaultfilters import floatformat
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from unfold.widgets import BASE_INPUT_CLASSES, CHECKBOX_CLASSES

from credentials import prices
from migration.admin.base import AdminView
from migration.models import KeptCounts
from migration.reports.cost_sheet import RULE, name_alternative
from migration.reports.costs import (
    CostAssumptions,
    count_aws_use_of_last_month,
    count_processes,
    estimate_costs,
)

if TYPE_CHECKING:
    from typing import Any

    from django.http import HttpRequest, HttpResponse
    from django_stubs_ext import StrPromise

MOST = 1_000_000


# What an empty field means, beside its value then.
WHERE_EMPTY: dict[str, StrPromise] = {
    "cache_seconds": gettext_lazy("Empty: %(value)s, as NOVA_CACHE_SECONDS is set"),
    "sweep_minutes": gettext_lazy("Empty: %(value)s, as NOVA_SWEEP_MINUTES is set"),
    "replica_regions": gettext_lazy("Empty: %(value)s, as NOVA_REPLICA_REGIONS is set"),
    "reads_a_day": gettext_lazy("Empty: as many as NOVA's reader has counted"),
    "processes": gettext_lazy("Empty: %(value)s, as many as read in the last hour, at least 1"),
}


class AssumptionsForm(forms.Form):
    """The form of what a cost estimate assumes. An empty field is as the settings and the counts have it."""

    cache_seconds = forms.FloatField(
        label=gettext_lazy("Cache of NOVA's processes, in seconds"), min_value=0, max_value=MOST
    )
    sweep_minutes = forms.IntegerField(
        label=gettext_lazy("Minutes between two comparisons of all"), min_value=1, max_value=MOST
    )
    replica_regions = forms.IntegerField(
        label=gettext_lazy("Regions with replicas"), min_value=0, max_value=100
    )
    reads_a_day = forms.FloatField(
        label=gettext_lazy("Reads of a client in a day, before the cache"),
        min_value=0,
        max_value=MOST,
    )
    processes = forms.IntegerField(
        label=gettext_lazy("Processes of NOVA"), min_value=1, max_value=MOST
    )
    own_key = forms.BooleanField(label=gettext_lazy("With a KMS key of your own"))

    def __init__(self, *args: Any, defaults: CostAssumptions, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name, field in self.fields.items():
            field.required = False
            if name == "own_key":
                field.widget.attrs["class"] = " ".join([*CHECKBOX_CLASSES, "self-start"])
            else:
                value = getattr(defaults, name)
                shown = "" if value is None else floatformat(value)
                field.help_text = WHERE_EMPTY[name] % {"value": shown}
                field.widget.attrs |= {
                    "class": " ".join(BASE_INPUT_CLASSES),
                    "placeholder": shown,
                }
        if defaults.own_key:
            self.fields["own_key"].help_text = _(
                "The settings name one, so it is counted in any case."
            )

    def read_entered_assumptions(self) -> dict[str, Any]:
        """Return what was entered and is valid."""
        self.full_clean()
        return {
            name: value for name, value in self.cleaned_data.items() if value not in (None, False)
        }


class CostView(AdminView):
    """Shows the estimate beside what was counted, the alternatives and the plan's rule. Asks AWS nothing."""

    template_name = "admin/migration/cost.html"
    is_of_site = True

    @property
    def title(self) -> str:
        return _("Cost")

    def get(self, request: HttpRequest) -> HttpResponse:
        counted = count_aws_use_of_last_month()
        assumed = replace(
            CostAssumptions.from_settings(),
            processes=count_processes(),
            writes_a_month=counted.writes,
        )
        form = AssumptionsForm(request.GET, defaults=assumed)
        assumed = replace(assumed, **form.read_entered_assumptions())
        estimate = estimate_costs(KeptCounts.objects.read_or_count().usage, assumed)
        return self.render_to_response(
            self.get_context_data(
                form=form,
                plan=estimate,
                assumed=assumed,
                counted=counted,
                rule=RULE[estimate.advice](),
                alternatives=[(each, name_alternative(each.key)) for each in prices.ALTERNATIVES],
                prices=list_prices(),
            )
        )


def list_prices() -> dict[str, object]:
    """Return the prices that pages name, each as it stands in `credentials.prices`."""
    return {
        "secret": prices.SECRET_A_MONTH,
        "calls": prices.TEN_THOUSAND_CALLS,
        "key": prices.KEY_A_MONTH,
        "requests": prices.TEN_THOUSAND_KEY_REQUESTS,
        "read": prices.AWS_PRICES_READ,
        "source": prices.AWS_PRICES_SOURCE,
        "key_source": prices.KMS_PRICES_SOURCE,
        "plan_of": prices.PLAN_PRICES_OF,
    }
