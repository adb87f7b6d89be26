"""A reader answers NOVA's questions as plain SQL does, in every phase and layout."""

from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from nova_credentials.document import Layout
from nova_credentials.phases import Phase
from tests.factories import make_aws, make_client, make_database, make_email
from tests.long_tests import SOAK
from tests.nova_credentials.in_phases import bring, stand
from tests.nova_credentials.reader.questions import (
    assert_answers,
    counts,
    every_question,
    labels,
    text,
)


def several_logins(pk):
    for label, primary in (("main", True), ("backup", False), ("backup", None), (None, False)):
        make_database(pk, label=label, is_primary=primary, db_user=f"{label}-{primary}")
        make_email(pk, label=label, is_primary=primary, email_user=f"{label}-{primary}")
        make_aws(pk, label=label, is_primary=primary, region=f"{label}-{primary}")


def nulls(pk):
    columns = ("email_provider", "imap_host", "imap_port", "smtp_host", "smtp_port")
    make_email(pk, **dict.fromkeys([*columns, "sender_whitelist", "label"]))
    make_aws(pk, region=None)


def empty_texts(pk):
    make_database(pk, db_host="", db_user="", db_password_encrypted="", label="")
    make_email(pk, email_provider="", imap_host="", sender_whitelist="", label="")


def odd_passwords(pk):
    for index, password in enumerate(
        [" example ", 'it\'s "quoted" \\', "two\r\nlines\n", "pässwörd 🔑"]
    ):
        make_database(pk, db_password_encrypted=password, is_primary=not index, label=f"{index}")
    make_email(pk, email_password_encrypted="x" * 4096)


def primary_unknown(pk):
    make_database(pk, is_primary=None, label="main")
    make_email(pk, is_primary=None)


# By the slug of a client with such logins.
SHAPES = {
    "one-of-each": lambda pk: (make_database(pk), make_email(pk), make_aws(pk)),
    "several-with-labels-null-and-repeated": several_logins,
    "primary-is-null": primary_unknown,
    "no-mail": make_database,
    "no-database": make_email,
    "null-in-every-column": nulls,
    "empty-texts": empty_texts,
    "odd-passwords": odd_passwords,
}


@pytest.mark.parametrize(
    ("phase", "layout"),
    [
        (Phase.POSTGRES, Layout.CLIENT),
        (Phase.DUAL_WRITE, Layout.CLIENT),
        (Phase.DUAL_READ, Layout.SERVICE),
        (Phase.AWS, Layout.CLIENT),
        (Phase.PURGED, Layout.SERVICE),
        *(
            pytest.param(phase, layout, marks=pytest.mark.nightly)
            for phase, layout in (
                (Phase.DUAL_READ, Layout.CLIENT),
                (Phase.AWS, Layout.SERVICE),
                (Phase.PURGED, Layout.CLIENT),
            )
        ),
    ],
)
def test_every_row_is_as_plain_sql_gives_it(make_reader, settings, phase, layout):
    settings.NOVA_SECRET_LAYOUT = layout
    reader = make_reader(layout=layout, timeout=30)
    for slug, make_logins in SHAPES.items():
        pk = make_client(slug)
        make_logins(pk)
        questions = every_question(slug)
        bring(pk, phase)

        assert_answers(reader, slug, questions)
        assert reader.client_id(slug) == pk
        if phase == Phase.DUAL_READ:
            reads, matches, *_ = counts(pk)
            assert reads == matches > 0


def test_a_client_without_any_credential_has_none_in_a_layout_without_its_secrets(
    make_reader, settings
):
    settings.NOVA_SECRET_LAYOUT = "service"
    reader = make_reader(layout=Layout.SERVICE, timeout=30)
    for phase in Phase:
        bring(make_client(phase), phase)

        assert_answers(reader, phase, every_question(phase))
        assert reader.get_primary_credentials(phase) == {"database": None, "email": None}


def test_of_two_primary_rows_one_is_given(reader):
    pk = make_client("idom")
    make_database(pk, db_user="first")
    make_database(pk, db_user="second")
    for phase in (Phase.POSTGRES, Phase.DUAL_WRITE, Phase.DUAL_READ):
        stand(pk, phase)

        assert_answers(reader, "idom", every_question("idom"))


ports = st.integers(-(2**31), 2**31 - 1)
columns = {
    make_database: {
        **dict.fromkeys(("db_host", "db_name", "db_user", "db_password_encrypted"), text),
        "db_port": ports,
    },
    make_email: {
        **dict.fromkeys(("email_user", "email_password_encrypted"), text),
        **dict.fromkeys(("email_provider", "imap_host", "sender_whitelist"), st.none() | text),
        "smtp_port": st.none() | ports,
    },
    make_aws: {
        **dict.fromkeys(("access_key_id", "secret_access_key"), text),
        "region": st.none() | text,
    },
}


@hypothesis_settings(
    max_examples=15 if SOAK else 2,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.data())
def test_whatever_the_tables_hold_comes_back_in_every_phase(make_reader, data):
    slug = uuid4().hex
    pk = make_client(slug)
    for make, of_table in columns.items():
        rows = data.draw(st.lists(st.fixed_dictionaries(of_table | labels), max_size=3))
        primary = data.draw(st.integers(0, 3))
        for index, row in enumerate(rows):
            make(pk, **row | ({"is_primary": True} if index == primary else {}))
    questions = every_question(slug)
    reader = make_reader(timeout=30)

    for phase in Phase:
        bring(pk, phase)
        assert_answers(reader, slug, questions)
    assert counts(pk)[2:] == (0, 0)
    reader.close()
