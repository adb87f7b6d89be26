"""The attack on the first release: its trigger called a function of NOVA's role with the rights of the site's."""

from tests.attacks.hostile import SPRING, hostile_database
from tests.checkout import manage

UNNEST = """
CREATE FUNCTION public.unnest(integer[]) RETURNS SETOF integer LANGUAGE plpgsql AS $attack$
BEGIN
    PERFORM trap.spring('unnest');
    RETURN QUERY SELECT $1[n] FROM generate_series(1, cardinality($1)) AS n;
END $attack$
"""


def test_an_update_by_nova_gives_its_role_nothing_of_the_sites():
    with hostile_database() as hostile:
        # The first release made its tables in `public`.
        hostile.run(
            f"CREATE SCHEMA nova_admin AUTHORIZATION {hostile.site}",
            f"GRANT CREATE ON SCHEMA public TO {hostile.site}",
        )
        hostile.run(
            "CREATE SCHEMA trap",
            "GRANT USAGE ON SCHEMA trap TO PUBLIC",
            SPRING.format(token=hostile.token, nova=hostile.nova),
            UNNEST,
            "INSERT INTO public.clients (name, slug) VALUES ('IDOM', 'idom')",
            role=hostile.nova,
        )
        done = manage("migrate", DATABASE_URL=hostile.of(hostile.site))
        assert done.returncode == 0, done.stderr

        hostile.run("UPDATE public.clients SET name = 'Other'", role=hostile.nova)

        assert hostile.sprung() == []
        assert hostile.gained() == []
