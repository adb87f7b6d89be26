"""`group_clients`: the former name of `group add` and, with `--remove`, of `group remove`."""

from migration.management.names import make_old_name


def turn_option_into_word(typed: list[str]) -> list[str]:
    """Return what is typed now: a word instead of `--remove`."""
    word = "remove" if "--remove" in typed else "add"
    return ["group", word, *(text for text in typed if text != "--remove")]


Command = make_old_name("group add|remove", turn_option_into_word)
