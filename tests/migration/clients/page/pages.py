"""The page of a client."""

from tests.migration.pages import page_of


def page(browser, pk: int, tab: str = "overview", query: str = ""):
    return browser.get(f"{page_of('credentials_client', pk)}?tab={tab}{query}")
