"""Holds the sentences of login tests, each with the key under which it is stored. No server's words are in them."""

from nova_credentials.messages import Sentence

OUTCOMES = {
    "works": Sentence("login_works", "the login works"),
    "refused": Sentence("login_was_refused", "the server refuses user or password"),
    "no_database": Sentence("login_no_database", "the server has no database of this name"),
    "pooler": Sentence(
        "login_refused_by_pooler",
        "the pooler (PgBouncer) there refuses user or password, or can't check them: what it knows of the user may be"
        " out of date",
    ),
    "unreachable": Sentence(
        "login_unreachable", "no server answers there, or it takes no logins now"
    ),
    "no_such_host": Sentence("login_no_such_host", "the host has no address: check its name"),
    "tls_problem": Sentence(
        "login_tls_problem", "no connection with TLS and a valid certificate can be made"
    ),
    "timed_out": Sentence("login_timed_out", "the server did not answer in time"),
    "not_allowed": Sentence("login_not_allowed", "logins are not sent to the address of this host"),
    "unsafe": Sentence(
        "login_unsafe", "the server asks for no password, or asks for it in clear text"
    ),
    "unexpected": Sentence("login_unexpected", "the server's answers are not understood"),
    "not_testable": Sentence(
        "login_not_testable", "host, user or secret are missing, or can't be sent"
    ),
}
STORES = {
    "postgres": Sentence("login_store_postgres", "PostgreSQL"),
    "aws": Sentence("login_store_aws", "AWS"),
}
LOGIN_OF_AWS = Sentence("login_of_aws", "%(kind)s login that only AWS has")
LABELLED_LOGIN_OF_AWS = Sentence(
    "labelled_login_of_aws", "%(kind)s login %(label)s that only AWS has"
)
LOGIN_WITH_SERVICE = Sentence("login_with_service", "%(login)s (%(service)s)")
LOGIN_RESULT = Sentence("login_result", "%(login)s with the values of %(store)s: %(outcome)s")
LOGINS_FAILED = Sentence("logins_failed", "%(results)s.", glue="; ")
LOGINS_NOT_REACHED = Sentence("logins_not_reached", "%(results)s.", glue="; ")
NO_LOGIN_TO_TEST = Sentence("no_login_to_test", "There is no login to test.")

# The gate
AWS_LOGIN_REFUSED = Sentence(
    "aws_login_refused",
    "A login with AWS's values was refused %(ago)s ago: %(logins)s. Correct it and test it again.",
    glue=", ",
)
AWS_LOGIN_NOT_REFUSED = Sentence(
    "aws_login_not_refused", "No login with AWS's values was refused in its newest test."
)

# What to copy, after both stores' values were tried
ADVICE = {
    "to_aws": Sentence(
        "advice_to_aws",
        "PostgreSQL's values log in where AWS's are refused: copy PostgreSQL to AWS.",
    ),
    "to_postgres": Sentence(
        "advice_to_postgres",
        "AWS's values log in where PostgreSQL's are refused: copy AWS to PostgreSQL.",
    ),
    "mixed": Sentence(
        "advice_mixed",
        "Each store has a login that works where the other's is refused: correct the logins one by one.",
    ),
    "either": Sentence(
        "advice_either", "The logins work with the values of both stores: either may be copied."
    ),
    "neither": Sentence(
        "advice_neither", "A login is refused with the values of both stores: ask for its password."
    ),
    "unclear": Sentence(
        "advice_unclear",
        "The logins don't show which store is right: not all of them could be tested.",
    ),
}

# The audit
LOGINS_TESTED = Sentence("logins_tested", "Tested: %(results)s.", glue="; ")
TYPED_LOGIN_TESTED = Sentence(
    "typed_login_tested", "Tested what was typed for %(login)s: %(outcome)s."
)
NEW_LOGIN = Sentence("new_login", "a new %(kind)s login")
