"""What the keyboard alone does on a page: press a control, go round them all. And whether a page fits a telephone."""

from playwright.sync_api import Locator, Page

WIDTH, TELEPHONE = {"width": 1440, "height": 900}, {"width": 390, "height": 844}
IS_REACHED = "at => at.tabIndex >= 0 && !at.closest('[inert]')"
# Gives each control that Tab reaches the focus, and says which a bar that sticks to the window's edge lies over.
HIDDEN = """() => {
    const stops = "a[href], button, input, select, textarea, summary, [tabindex]";
    const before = document.activeElement;
    const hidden = [...document.querySelectorAll(stops)].flatMap((at) => {
        if (at.tabIndex < 0 || at.disabled || !at.checkVisibility({visibilityProperty: true})) return [];
        at.focus();
        const [box] = at.getClientRects();
        if (document.activeElement !== at || !box) return [];
        const {x, y, width, height} = box;
        // What is over its beginning, its middle and its end; one that is seen is enough.
        const bars = [2, width / 2, width - 2].map((right) => {
            let part = document.elementFromPoint(x + right, y + Math.min(height, innerHeight) / 2);
            while (part && !part.contains(at) && !["fixed", "sticky"].includes(getComputedStyle(part).position))
                part = part.parentElement;
            return part && !part.contains(at) ? part : null;
        });
        if (bars.includes(null)) return [];
        const name = at.ariaLabel || at.innerText || at.name || at.id;
        return [`${name || at.outerHTML} lies under ${bars[0].id || bars[0].className}`];
    });
    document.activeElement.blur();
    before.focus();
    scrollTo(0, 0);
    return hidden;
}"""


def press(control: Locator, key: str = "Enter") -> None:
    """Press a key on the control; Tab has to reach it."""
    assert control.evaluate(IS_REACHED)
    control.press(key)


def choose_act(page: Page, menu: str, act: str) -> None:
    """Choose an act for the clients that are selected, in one of the menus of the list's bar."""
    bar = page.get_by_role("region", name="Selection")
    press(bar.locator("summary", has_text=menu))
    press(bar.get_by_role("button", name=act, exact=True))


def find_hidden(page: Page) -> list[str]:
    """Say which controls lie under which bar while they have the focus."""
    return page.evaluate(HIDDEN)


def fits(page: Page) -> bool:
    """Say whether nothing of the page is wider than a telephone; the window is as wide as before then."""
    before = page.viewport_size
    page.set_viewport_size(TELEPHONE)
    width = page.evaluate("document.documentElement.scrollWidth")
    page.set_viewport_size(before or WIDTH)
    return width <= TELEPHONE["width"]
