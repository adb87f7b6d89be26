"""axe-core on a page, in light and in dark, and the focus under a bar: what is wrong, in a line each."""

from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import Page

from tests.browser.keyboard import find_hidden

# What is Unfold's or Django's own and can't be mended from here: a rule, selectors, and why.
EXCLUDED: dict[str, list[str]] = {
    # Django's widget for many-to-many fields (SelectFilter2.js) writes a tooltip's text on a span without a role.
    "aria-prohibited-attr": [".selector-filter .help-tooltip"],
}
RUN = """async ([only, excluded]) => {
    // Preloaded sheets serve a rule that isn't on by default; each would be fetched once more.
    const options = {resultTypes: ["violations"], preload: false, ...(only && {runOnly: only})};
    const found = (await axe.run(document, options)).violations;
    return found.flatMap(({id, help, nodes}) => nodes
        .filter(({element, target}) => !(excluded[id] || []).some(
            (selector) => document.querySelector(target[0])?.matches(selector)))
        .map(({target, html, failureSummary}) => `${id}: ${target}: ${html.slice(0, 200)}: ${failureSummary}`));
}"""


# As Unfold does it.
LIGHT, DARK = (f"document.documentElement.classList.{what}('dark')" for what in ("remove", "add"))
# No colour on its way. The page's policy lets no <style> in; a sheet that a script adopts it doesn't ask about.
STILL = """() => {
    const sheet = new CSSStyleSheet();
    sheet.replaceSync("* { animation: none !important; transition: none !important }");
    document.adoptedStyleSheets = [sheet];
}"""


def violations(page: Page, *, dark: bool = True) -> list[str]:
    """All rules in light; in dark, where nothing but the colours is another, those about colours."""
    page.evaluate(STILL)
    page.evaluate(LIGHT)
    if not page.evaluate("'axe' in window"):
        page.evaluate(AXE_SCRIPT)
    found = [f"light: {line}" for line in page.evaluate(RUN, [None, EXCLUDED])]
    if dark:
        page.evaluate(DARK)
        of_colours = [["color-contrast", "link-in-text-block"], EXCLUDED]
        found += [f"dark: {line}" for line in page.evaluate(RUN, of_colours)]
    return found + find_hidden(page)
