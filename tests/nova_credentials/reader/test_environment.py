"""The variables that a reader is set up by."""

import pytest
from psycopg.conninfo import conninfo_to_dict

from nova_credentials.phases import Phase
from nova_credentials.reader import from_environment, from_postgres
from nova_credentials.reader.routing import Reader
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
        ("NOVA_READ_TIMEOUT_SECONDS", "0.009"),
        ("NOVA_READ_TIMEOUT_SECONDS", "1e300"),
        ("NOVA_CACHE_SECONDS", "soon"),
        ("NOVA_CACHE_SECONDS", "86400.5"),
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


@pytest.mark.parametrize(("timeout", "cached"), [("0.01", "0"), ("86400", "86400")])
def test_the_least_and_the_most_seconds_are_taken(timeout, cached):
    reader = from_environment(
        {
            "DATABASE_URL": "postgresql:///nova",
            "NOVA_READ_TIMEOUT_SECONDS": timeout,
            "NOVA_CACHE_SECONDS": cached,
        }
    )

    assert (reader._timeout, reader._cache_seconds) == (float(timeout), float(cached))


def test_what_is_unset_is_what_the_docs_say():
    of_nothing = vars(from_environment({"DATABASE_URL": "postgresql:///nova"}))
    of_the_class = vars(Reader("postgresql:///nova"))

    for read in (of_nothing, of_the_class):
        assert (read["_timeout"], read["_cache_seconds"]) == (2, 30)
        assert read["_aws_settings"] == {
            "region": "us-east-1",
            "prefix": "nova/clients",
            "layout": "client",
        }


def test_a_silent_server_is_noticed_as_the_docs_say_and_the_url_may_say_otherwise():
    def read(url: str) -> dict[str, str]:
        return conninfo_to_dict(from_postgres.parse_database_url(url))

    assert read("postgresql:///nova") == {
        "dbname": "nova",
        "connect_timeout": "5",
        "keepalives_idle": "5",
        "keepalives_interval": "2",
        "keepalives_count": "3",
        "tcp_user_timeout": "10000",
        "client_encoding": "UTF8",
    }
    assert read("postgresql:///nova?connect_timeout=9")["connect_timeout"] == "9"


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
