"""Sentences with values: printed in English, stored as JSON and read back, put in a row."""

import json
import pickle
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nova_credentials import messages
from nova_credentials.document import DocumentError
from nova_credentials.messages import Message, Sentence, in_a_row

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))


@pytest.fixture
def declare(monkeypatch):
    """Declares a sentence for one test."""
    monkeypatch.setattr(messages, "SENTENCES", dict(messages.SENTENCES))
    return Sentence


def ago(**time) -> datetime:
    return datetime.now(UTC) - timedelta(**time)


def test_a_sentence_with_its_values_is_printed_in_english(declare):
    took = declare("took", "%(who)s took %(n)s bytes on %(day)s: %(what)s.", glue=" or ")

    message = took(who="ana", n=65536, day=date(2026, 11, 25), what=("a", "b"))

    assert str(message) == "ana took 65,536 bytes on 25 Nov 2026: a or b."
    assert message.text == str(message)


@pytest.mark.parametrize(
    ("time", "shown"),
    [
        ({"seconds": -5}, "1 second"),
        ({"seconds": 59}, "59 seconds"),
        ({"minutes": 1}, "1 minute"),
        ({"minutes": 5, "seconds": 30}, "5 minutes"),
        ({"hours": 1, "minutes": 5}, "1 hour"),
        ({"hours": 2}, "2 hours"),
        ({"days": 8, "hours": 3}, "8 days"),
        ({"days": 800}, "800 days"),
    ],
)
def test_a_time_is_printed_as_the_time_since(declare, time, shown):
    met = declare("met", "Met %(ago)s ago.")

    assert str(met(ago=ago(**time))) == f"Met {shown} ago."


def test_a_time_ages_after_it_was_stored(declare):
    met = declare("met", "Met %(ago)s ago.")
    stored = json.dumps(met(ago=ago(minutes=5)).to_json())

    read = Message.from_json(json.loads(stored.replace("5 minutes", "4 minutes")))

    assert str(read) == "Met 5 minutes ago."
    assert read.text == "Met 4 minutes ago."


def test_one_is_told_from_many(declare):
    matched = declare("matched", "%(n)s of them matched.", one="%(n)s matched.")

    assert [str(matched(n=n)) for n in (0, 1, 2)] == [
        "0 of them matched.",
        "1 matched.",
        "2 of them matched.",
    ]


def test_a_key_belongs_to_one_sentence(declare):
    declare("twice", "Once.")

    with pytest.raises(ValueError, match="twice"):
        declare("twice", "Again.")


@pytest.mark.parametrize("values", [{}, {"a": "x", "b": "y"}, {"b": "x"}])
def test_a_sentence_takes_just_its_values(declare, values):
    with pytest.raises(TypeError):
        declare("just", "It takes %(a)s.")(**values)


@pytest.mark.parametrize("value", [True, None, object(), b"x", ["x"], {"message": 1}])
def test_a_value_of_another_type_is_refused(declare, value):
    sentence = declare("typed", "It takes %(a)s.")

    with pytest.raises(TypeError):
        sentence(a=value)


def test_a_key_that_is_no_longer_known_shows_its_english_as_it_was():
    gone = Message.from_json({"key": "gone", "values": {"n": 1}, "text": "As it was."})

    assert gone.sentence is None
    assert str(gone) == "As it was."


def test_a_sentence_that_takes_other_values_by_now_shows_its_english_as_it_was(declare):
    declare("other", "It takes %(a)s.")

    assert str(Message("other", {"b": 1}, "It took 1.")) == "It took 1."


def test_what_an_earlier_release_stored_is_shown_as_it_is():
    assert str(Message.from_text_without_key("100 % of it. %(n)s")) == "100 % of it. %(n)s"


VALUES = st.recursive(
    st.one_of(
        TEXT,
        st.integers(-(2**53), 2**53),
        st.floats(allow_nan=False, allow_infinity=False),
        st.dates(),
        st.datetimes(timezones=st.just(UTC)),
    ),
    lambda inner: st.one_of(
        st.lists(st.one_of(TEXT, st.builds(Message.from_text_without_key, TEXT)), max_size=3).map(
            tuple
        ),
        st.builds(Message, TEXT, st.dictionaries(TEXT, inner, max_size=3), TEXT),
    ),
    max_leaves=6,
)


@given(st.builds(Message, TEXT, st.dictionaries(TEXT, VALUES, max_size=3), TEXT))
def test_json_gives_the_same_message_back(message):
    read = Message.from_json(json.loads(json.dumps(message.to_json())))

    assert read == message
    types = {name: type(value) for name, value in read.values.items()}
    assert types == {name: type(value) for name, value in message.values.items()}


def test_sentences_in_a_row_stay_apart(declare):
    one, two = declare("one", "One.")(), declare("two", "Two.")()

    assert in_a_row(None) is None
    assert in_a_row(one, None) == one
    row = in_a_row(in_a_row(one, two), one)
    assert str(row) == "One. Two. One."
    assert row.codes == ["one", "two", "one"]
    assert Message.from_json(row.to_json()) == row
    assert one.codes == ["one"]


def test_an_error_carries_its_message_from_one_process_to_another(declare):
    error = DocumentError(declare("wrong", "%(slug)s: wrong.")(slug="idom"))

    copy = pickle.loads(pickle.dumps(error))

    assert (copy.message, str(copy)) == (error.message, "idom: wrong.")
