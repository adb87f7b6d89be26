"""Owns how a sentence is said that is stored, printed or raised: in English. Knows no Django."""


def say(sentence: str, /, **values: object) -> str:
    """The sentence with its values. Pages tell it in their reader's language (`credentials.told`)."""
    return sentence % values if values else sentence
