"""What the pages say, in a language: the tests name each button and field by it, as a person finds them."""

from collections.abc import Callable

from django.utils.translation import gettext, override

Say = Callable[..., str]


def words(language: str) -> Say:
    def say(text: str, **values: object) -> str:
        with override(language):
            said = gettext(text)
        return said % values if values else said

    return say
