"""The variables that a reader is set up by."""

import pytest
from psycopg.conninfo import conninfo_to_dict

from nova_credentials.phases import Phase
from nova_credentials.reader import from_environment, from_postgres
from tests.factories import make_full_client
from tests.nova_credentials.in_phases import bring


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("DATABASE_URL", "mysql://nova:MARKER@db/nova"),
        ("DATABASE_URL", "postgresql://nova:MARKER@db:port/nova?no=such"),
        ("NOVA_SECRET_LAYOUT", "both"),
        ("NOVA_CONNECTION_DRIVER", "MARKER"),
        ("NOVA_READ_TIMEOUT_SECONDS", "soon"),
        ("NOVA_READ_TIMEOUT_SECONDS", "0"),
        ("NOVA_CACHE_SECONDS", "-1"),
        ("NOVA_CACHE_SECONDS", "nan"),
        ("NOVA_READ_TIMEOUT_SECONDS", "1e300"),
    ],
)
def test_a_wrong_variable_is_named_and_not_shown(variable, value):
    with pytest.raises(RuntimeError, match=variable) as caught:
        from_environment({"DATABASE_URL": "postgresql:///nova"} | {variable: value})
    assert "MARKER" not in str(caught.value)
    assert caught.value.__context__ is None


@pytest.mark.parametrize("unset", [{}, {"DATABASE_URL": ""}, {"DATABASE_URL": " "}])
def test_without_a_database_url_it_is_a_value_error_as_in_novas_helper(unset):
    with pytest.raises(ValueError, match="DATABASE_URL"):
        from_environment(unset)


def test_an_empty_variable_counts_as_unset(database_url):
    names = ("AWS_REGION", "NOVA_SECRET_PREFIX", "NOVA_SECRET_LAYOUT", "NOVA_CACHE_SECONDS")
    names += ("NOVA_READ_TIMEOUT_SECONDS",)
    set_to_nothing, unset = (
        vars(from_environment({"DATABASE_URL": database_url} | values))
        for values in (dict.fromkeys(names, " "), {})
    )

    for name in ("_aws_settings", "_timeout", "_cache_seconds"):
        assert set_to_nothing[name] == unset[name]


@pytest.mark.parametrize(
    "scheme", ["postgres", "postgresql", "postgresql+psycopg2", "postgres+psycopg"]
)
def test_nova_s_database_url_is_taken_as_it_is(scheme):
    got = conninfo_to_dict(
        from_postgres.parse_database_url(f"{scheme}://nova:p%20w@db.example.test/nova")
    )
    wanted = {"user": "nova", "password": "p w", "host": "db.example.test", "dbname": "nova"}
    assert got.items() >= wanted.items()


def test_prefix_layout_and_region_are_those_of_the_site(stores, settings, database_url):
    settings.NOVA_SECRET_PREFIX, settings.NOVA_SECRET_LAYOUT = "other/place", "service"
    bring(make_full_client("idom"), Phase.AWS)

    reader = from_environment(
        {
            "DATABASE_URL": database_url,
            "NOVA_SECRET_PREFIX": "/other/place/",
            "NOVA_SECRET_LAYOUT": "service",
        }
    )

    assert reader.get_credential("idom", "database").db_password == "example-password-1"
    reader.close()
