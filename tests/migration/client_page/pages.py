"""The page of a client."""

from tests.migration.admin.pages import page_of


def page(browser, pk: int, query: str = ""):
    return browser.get(page_of("credentials_client", pk) + query)
