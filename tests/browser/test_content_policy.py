"""Pages under their Content-Security-Policy: Unfold's parts work, and what the policy refuses is a complaint."""

import re

import pytest
from playwright.sync_api import Page, expect

from tests.page_markup import Markup, find_templates

pytestmark = pytest.mark.browser

CLIENTS = "/admin/credentials/client/"
# Answers with what the build says of each that it can't parse; what it misses while it evaluates is not asked here.
UNPARSED = """(expressions) => expressions.flatMap((expression) => {
    try { Alpine.evaluateRaw(document.createElement("i"), expression); }
    catch (error) { if (error.message.startsWith("CSP Parser Error")) return [`${expression}: ${error.message}`]; }
    return [];
})"""
# The names at each element that has a scope; an expression sees those of the elements around it as well.
NAMES = """() => [...document.querySelectorAll("[x-data]")].flatMap(
    (element) => Alpine.closestDataStack(element).flatMap((data) => Object.keys(data)))"""
STRING = re.compile(r"'[^']*'|\"[^\"]*\"")
NAME = re.compile(r"(?<![\w$.])[A-Za-z_$][\w$]*")
KEY = re.compile(r"(?<=[{,])\s*[A-Za-z_]\w*\s*:")
KNOWN = {
    *("true", "false", "null", "undefined"),
    *("$el", "$event", "$refs", "$dispatch", "$width"),  # Alpine's own
    *("theme", "page", "searchForm", "searchCommand"),  # alpine_data.js registers them
    *("item", "index"),  # of the x-for in Unfold's command_history.html
}
# Of rows that people sort by hand (`ordering_field`), of menus of sites and displays, and of the bar of Unfold's own
# lists: the site has these nowhere.
OF_PARTS_NOT_IN_USE = {"sortRecords", "moveRecords", "openDropdown", "changeListWidth"}


def list_expressions() -> set[str]:
    markups = [Markup(path.read_text()) for path in find_templates().values()]
    return {expression for markup in markups for expression in markup.find_expressions()}


def names_in(expression: str) -> set[str]:
    return set(NAME.findall(KEY.sub("", STRING.sub("''", expression))))


def local_names(expressions: set[str]) -> set[str]:
    """The names that a template's own x-data gives: `{ open: false }`."""
    return {
        key.strip(" :")
        for expression in expressions
        for key in KEY.findall(STRING.sub("''", expression))
    }


@pytest.fixture
def page(visit) -> Page:
    return visit(CLIENTS)


def test_alpines_build_parses_each_expression_of_the_templates_and_has_its_names(page):
    expressions = list_expressions()
    given = KNOWN | local_names(expressions) | set(page.evaluate(NAMES))

    assert len(expressions) > 100
    assert page.evaluate(UNPARSED, sorted(expressions)) == []
    assert {name for each in expressions for name in names_in(each)} - given == OF_PARTS_NOT_IN_USE

    others = ["a = 1; b = 2", "if (a) b()", "() => a", "a ?? b", "`a`"]
    assert len(page.evaluate(UNPARSED, others)) == len(others)


def test_theme_menus_sidebar_and_palette_work_without_a_complaint(page):
    html, sidebar = page.locator("html"), page.locator("#nav-sidebar")
    page.get_by_text("root").last.click()
    page.get_by_text("Dark", exact=True).click()
    expect(html).to_have_class(re.compile("dark"))
    page.get_by_text("dock_to_right").first.click()
    expect(sidebar).to_be_hidden()
    page.reload()
    expect(html).to_have_class(re.compile("dark"))
    expect(sidebar).to_be_hidden()

    page.keyboard.press("Control+k")
    box = page.locator("#search-input-command")
    box.fill("runs")
    result = page.locator("#command-results-list li").first
    expect(result).to_have_class(re.compile("active"))
    with page.expect_navigation():
        page.keyboard.press("Enter")

    assert page.url.endswith("/admin/migration/run/")
    page.goto(page.url.replace("migration/run", "password_change"))
    expect(page.get_by_label("Old password")).to_be_focused()


def test_what_the_policy_refuses_is_a_complaint(page, complaints):
    page.evaluate("""() => {
        document.body.append(Object.assign(document.createElement("script"), {text: "window.ran = 1"}));
        document.body.setAttribute("onclick", "window.ran = 2");
        document.body.click();
        new Image().src = "data:image/gif;base64,";
    }""")

    assert page.evaluate("window.ran") is None
    refused = [re.findall("directive:? ['\"]([a-z-]+)", complaint) for complaint in complaints]
    assert refused == [["script-src"], ["script-src"], ["img-src"]]
    complaints.clear()
