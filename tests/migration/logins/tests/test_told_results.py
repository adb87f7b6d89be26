"""What a person is told after logins were tested. Needs no database."""

import pytest

from migration.logins.pages import describe_login, describe_results, describe_verdict
from migration.models import LoginTest


@pytest.mark.parametrize(
    ("found", "told"),
    [
        (["works", "works"], "2 of 2 logins work."),
        (
            ["not_allowed", "works", "not_allowed", "refused"],
            (
                "1 works; 1 is refused (the server refuses user or password); "
                "2 could not be tested (logins are not sent to the address of this host)."
            ),
        ),
        (
            ["timed_out", "not_testable"],
            (
                "1 could not be tested (the server did not answer in time); "
                "1 could not be tested (host, user or secret are missing, or can't be sent)."
            ),
        ),
    ],
)
def test_what_was_tested_is_told_apart_from_what_could_not_be_and_why(found, told):
    assert describe_results([LoginTest(outcome=each) for each in found]) == told


@pytest.mark.parametrize(
    ("pairs", "told", "verdict"),
    [
        ([("works", "works")] * 2, "2 logins work with the values of both stores.", ""),
        (
            [("works", "refused")] * 2,
            "PostgreSQL's values log in. AWS's values are refused (the server refuses user or password).",
            "Copy PostgreSQL to AWS.",
        ),
        (
            [("refused", "works"), ("works", "works")],
            (
                "With PostgreSQL's values: 1 works; 1 is refused (the server refuses user or password). "
                "AWS's values log in."
            ),
            "Copy AWS to PostgreSQL.",
        ),
    ],
)
def test_the_values_of_each_store_are_told_by_themselves(pairs, told, verdict):
    tests = [
        LoginTest(kind="database", credential_id=number, store=store, outcome=outcome)
        for number, pair in enumerate(pairs)
        for store, outcome in zip(("postgres", "aws"), pair, strict=True)
    ]

    assert (describe_results(tests), describe_verdict(tests)) == (told, verdict)


@pytest.mark.parametrize(
    ("by_store", "told"),
    [
        (
            {"postgres": "works", "aws": "works"},
            "Database login reports works with the values of both stores.",
        ),
        ({"aws": "works"}, "Database login reports works with AWS's values."),
        (
            {"postgres": "works", "aws": "timed_out"},
            (
                "Database login reports: PostgreSQL's values log in. "
                "AWS's values could not be tested (the server did not answer in time)."
            ),
        ),
    ],
)
def test_of_one_login_is_told_which_it_was_and_of_each_store_how_it_went(by_store, told):
    tests = [
        LoginTest(kind="database", credential_id=1, store=store, outcome=outcome)
        for store, outcome in by_store.items()
    ]
    for test in tests:
        test.row_name = "reports"

    assert describe_login(tests) == told
