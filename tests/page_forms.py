"""Forms of the pages without the pages: a client's page is thousands of template nodes, and few tests look at it."""

import logging
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any

import pytest
from django.contrib.messages import get_messages
from django.forms import BaseForm, BoundField, Textarea
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse


@contextmanager
def pages_left_out() -> Iterator[None]:
    """Have answers that are pages be empty, with their messages gone; `context_data` holds what would be shown."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TemplateResponse, "rendered_content", property(leave_out))
        yield


@contextmanager
def refusals_left_out() -> Iterator[None]:
    """As above, and have refused requests answered by their status alone: a refusal's page and log take 30 ms."""

    def answer(_request: HttpRequest, status: HTTPStatus, *_: object, **__: object) -> HttpResponse:
        return HttpResponse(status=status)

    logger = logging.getLogger("django.request")
    with pages_left_out(), pytest.MonkeyPatch.context() as patch:
        patch.setattr("nova_admin.error_pages.render_error", answer)
        patch.setattr(logger, "disabled", True)
        yield


def leave_out(response: TemplateResponse) -> str:
    for _ in get_messages(response._request):
        pass
    return ""


@contextmanager
def forms_alone() -> Iterator[None]:
    """As above, and a client's page doesn't ask for what stands around its form."""
    with pages_left_out(), pytest.MonkeyPatch.context() as patch:
        for part in ("client", "moves"):
            patch.setattr(f"migration.clients.admin.get_{part}_context", lambda *_: {})
        yield


def open_form(browser: Any, url: str) -> dict[str, str]:
    """What a browser sends of the form of a client's page; `sent_form` takes the same from the page itself."""
    with forms_alone():
        shown = browser.get(url, {"tab": "logins"}).context_data
    sent = values_of([shown["adminform"].form])
    for inline in shown["inline_admin_formsets"]:
        assert inline.has_change_permission, "its rows are shown without inputs"
        sent |= values_of([inline.formset.management_form, *inline.formset.forms])
    return sent


def values_of(forms: Iterable[BaseForm]) -> dict[str, str]:
    fields = [field for form in forms for field in form]
    return {each.html_name: value_of(each) for each in fields if not each.field.disabled}


def value_of(field: BoundField) -> str:
    """As `SentForm` reads it from the page: an <input> is one line, a text area has the browser's line ends."""
    widget = field.field.widget
    shown = widget.get_context(field.html_name, field.value(), {})["widget"]
    if "optgroups" in shown:
        options = [option for _, group, _ in shown["optgroups"] for option in group]
        chosen = [option for option in options if option["selected"]] or options[:1]
        return str(chosen[-1]["value"])
    value = "" if shown["value"] is None else str(shown["value"])
    if isinstance(widget, Textarea):
        return re.sub(r"\r\n?|\n", "\n", value).removeprefix("\n").replace("\n", "\r\n")
    return re.sub(r"[\r\n]", "", value)


def send_form(browser: Any, url: str, data: dict[str, str]) -> Any:
    """The answer to a form, which is not rendered where it is the page again."""
    with forms_alone():
        return browser.post(url, data)


def errors_of(response: Any) -> str:
    """The words of a refusal, from the form and its inlines."""
    assert response.status_code == 200, "it was saved"
    return " ".join(str(error) for error in response.context_data["errors"])
