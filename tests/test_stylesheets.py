"""The stylesheets against the lists: a column that a rule names is a column of that list."""

import re

import pytest
from django.contrib.admin import site

from tests.checkout import ROOT

STYLESHEETS = sorted((ROOT / "migration" / "static").rglob("*.css"))
COLUMN = re.compile(r"\.model-(\w+)[^,{]*\.field-(\w+)")


@pytest.mark.parametrize("path", STYLESHEETS, ids=lambda path: path.name)
def test_a_rule_for_a_column_is_for_one_that_the_list_has(path):
    """One for `started_at` stayed when the list of runs got `created_when`: on a phone each run had a line more."""
    shown = {
        model._meta.model_name: {str(column) for column in model_admin.list_display}
        for model, model_admin in site._registry.items()
    }

    assert [
        rule for rule in COLUMN.findall(path.read_text()) if rule[1] not in shown[rule[0]]
    ] == []


def test_there_are_rules_for_columns():
    assert sum(len(COLUMN.findall(path.read_text())) for path in STYLESHEETS) > 10
