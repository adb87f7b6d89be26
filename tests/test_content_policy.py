"""The templates in use hold nothing that the Content-Security-Policy keeps from running."""

from hashlib import sha256
from pathlib import Path

import pytest
import unfold
from django.contrib import admin

from tests.page_markup import Markup, find_templates

ROOT = Path(__file__).parent.parent
UNFOLD = Path(unfold.__file__).parent / "templates" / "unfold"
VENDORED = ROOT / "static" / "vendor"
# Of Unfold's templates that ours repeat with another expression, or with real buttons: a new
# version of one has to be looked at.
REPEATED = {
    "layouts/skeleton.html": "66af9f0bb45f98ba4e16ba5e5a11f36d87b8e07430d19066d088b29548491c2e",
    "helpers/welcomemsg.html": "e8eab02522ba2319b937086bbcb6bf2a2bbe1489d236ad90ff23edbe070a7d6b",
    "helpers/navigation_user.html": "4c9ba58b3f215326703c699fff40b582b10125257f7357126531e2cd73785716",
    "helpers/navigation_header.html": "35139b9d94580be975de34bc44253c52c0b4ed0669dc5d4902c13016f40f31e4",
    "helpers/command.html": "ae6ce324d85366131fc82945b3c35c1b980829229508343993e6adcbee4c975d",
}


def test_no_template_holds_a_script_or_a_style_or_an_event_attribute():
    found = [
        (name, each)
        for name, path in find_templates().items()
        for markup in [Markup(path.read_text())]
        for each in (
            *markup.find_inline(),
            *(attribute for attribute, _ in markup.find_attributes() if attribute[:2] == "on"),
            *(["javascript:"] if "javascript:" in markup.text else []),
        )
    ]

    assert found == []
    assert all(
        each.actions_on_top or each.actions_on_bottom for each in admin.site._registry.values()
    )


@pytest.mark.parametrize("name", REPEATED)
def test_a_template_of_unfolds_that_ours_repeats_is_as_it_was(name):
    assert sha256((UNFOLD / name).read_bytes()).hexdigest() == REPEATED[name]
    assert find_templates()[f"unfold/{name}"].is_relative_to(ROOT / "templates")


def test_vendored_files_are_those_that_were_taken_over():
    lines = (VENDORED / "SHA256SUMS").read_text().splitlines()
    noted = dict(reversed(line.split("  ")) for line in lines if not line.startswith("#"))
    present = {
        str(path.relative_to(VENDORED)): sha256(path.read_bytes()).hexdigest()
        for path in VENDORED.rglob("*")
        if path.is_file() and path.name != "SHA256SUMS"
    }

    assert noted == present
    assert {Path(name).parent for name in present} == {
        Path(name).parent for name in present if Path(name).name == "LICENSE"
    }


@pytest.mark.parametrize(
    ("text", "expressions"),
    [
        ('<a @click="open = !open">', ["open = !open"]),
        ("""<a x-bind:class="{'{{ x }}': a}">""", ["{'1': a}"]),
        ("""<a x-data="t({% if x == "1" %}'{{ x }}'{% endif %})">""", ["t('1')", "t()"]),
        ('<a :a="{% if a %}{% if b %}1{% else %}2{% endif %}{% else %}3{% endif %}">', [*"123"]),
        ('<template x-for="(one, i) in all" x-ref="a">', ["all"]),
        ('{% comment %}<a @click="a;b">{% endcomment %}{# :a="b" #}<a href="//b:c=d">', []),
    ],
)
def test_an_expression_is_found_whatever_tags_are_in_it(text, expressions):
    assert list(Markup(text).find_expressions()) == expressions
