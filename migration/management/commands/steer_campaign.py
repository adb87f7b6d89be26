"""`steer_campaign`: the former name of `campaign stop`, `go_on` and `cancel`, which stood after the number."""

from migration.management.names import make_old_name

WORDS = ("stop", "go_on", "cancel")


def put_word_first(typed: list[str]) -> list[str]:
    """Return what is typed now: the word stands before the number."""
    words, rest = [text for text in typed if text in WORDS][:1], list(typed)
    for word in words:
        rest.remove(word)
    return ["campaign", *words, *rest]


Command = make_old_name("campaign stop|go_on|cancel", put_word_first)
