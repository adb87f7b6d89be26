"""Where NOVA's database holds copies of secret values: what is found, for whom, and what is no copy."""

import json
import re
from urllib.parse import quote

from django.core.management import call_command
from psycopg.types.json import Jsonb

from migration.models import CopySearch
from migration.pushes.pushes import push
from nova_credentials.phases import Phase
from tests.factories import make_client, make_database, make_full_client
from tests.migration.moves.clients import change_in_aws, enter_phase, write_password
from tests.migration.secrets.copies.nova_tables import add_execution, add_step

PASSWORD = "example-password-1"
APP_PASSWORD = "example-app-password-2"


def test_after_a_purge_the_copies_are_found_where_novas_worker_left_them(nova, find):
    """AWS alone was said to hold the secret values, and yet they stood in six other columns."""
    pk = make_full_client("idom")
    enter_phase(pk, Phase.PURGED)
    execution = add_execution(nova, json.dumps({"context": {"db_password": PASSWORD}}))
    add_step(
        nova,
        execution,
        input_context=json.dumps({"email": {"password": APP_PASSWORD}}),
        output_result=json.dumps([PASSWORD, {"again": PASSWORD}]),
        code_executed=f"connect(password='{PASSWORD}')",
    )
    nova.execute("UPDATE public.executions SET error = %s", [f"no login with {PASSWORD}"])
    nova.execute("INSERT INTO public.code_cache (code) VALUES (%s)", [f"PASSWORD = {PASSWORD!r}"])
    nova.execute(
        "INSERT INTO public.client_credentials (client_name, client_slug, db_host, db_port, db_name, db_user,"
        " db_password, is_active) VALUES ('IDOM', 'idom', 'h', 5432, 'd', 'u', %s, true)",
        [PASSWORD],
    )

    assert find(pk) == {
        ("idom", "public.executions.result"): 1,
        ("idom", "public.executions.error"): 1,
        ("idom", "public.chain_of_work.input_context"): 1,
        ("idom", "public.chain_of_work.output_result"): 1,
        ("idom", "public.chain_of_work.code_executed"): 1,
        ("idom", "public.code_cache.code"): 1,
        ("idom", "public.client_credentials.db_password"): 1,
    }
    evidence = CopySearch.objects.get().searched_clients.get()
    assert evidence.rows_found == 7


def test_where_there_is_no_copy_nothing_is_found_and_nothing_left_unlooked_at(nova, find):
    pk = make_full_client("idom")
    enter_phase(pk, Phase.DUAL_WRITE)
    add_execution(nova, json.dumps({"host": "db.example.test", "password": "another"}))

    assert find(pk) == {}
    found = CopySearch.objects.get().searched_clients.get()
    assert (found.rows_found, found.not_looked_at) == (0, 0)


def test_former_values_are_looked_for_too(nova, find, sm):
    pk = make_full_client("idom")
    enter_phase(pk, Phase.AWS)
    change_in_aws(sm, password="example-newer-password")
    sm.put_aside(
        "nova/clients/idom",
        json.dumps({"database": {"password": "example-replaced-password"}}),
        stage="NOVA_REPLACED",
    )
    write_password(pk, "example-of-novas-own")
    for value in (
        PASSWORD,
        "example-newer-password",
        "example-replaced-password",
        "example-of-novas-own",
    ):
        add_execution(nova, json.dumps({"password": value}))

    assert find(pk) == {("idom", "public.executions.result"): 4}


def test_a_value_that_several_clients_have_counts_for_each_and_a_longer_one_too(nova, find):
    one, two, longer = make_client("one"), make_client("two"), make_client("longer")
    for pk, value in (
        (one, "shared-secret"),
        (two, "shared-secret"),
        (longer, "my-shared-secret-2"),
    ):
        make_database(pk, db_password_encrypted=value)
    add_execution(nova, json.dumps({"password": "shared-secret"}))
    add_execution(nova, json.dumps({"password": "my-shared-secret-2"}))

    assert find(one, two, longer) == {
        ("one", "public.executions.result"): 2,
        ("two", "public.executions.result"): 2,
        ("longer", "public.executions.result"): 1,
    }


def test_only_the_chosen_clients_values_are_looked_for(nova, find):
    one, two = make_client("one"), make_client("two")
    make_database(one, db_password_encrypted="secret-of-one")
    make_database(two, db_password_encrypted="secret-of-two")
    add_execution(nova, json.dumps(["secret-of-one", "secret-of-two"]))

    assert find(two) == {("two", "public.executions.result"): 1}


def test_columns_that_are_mapped_as_secret_are_values_and_no_copies(nova, find):
    pk = make_full_client("idom")
    columns = {"token": "secret", "note": "plain"}
    nova.execute("ALTER TABLE public.clients ADD token text, ADD note text, ADD loose text")
    nova.execute("ALTER TABLE public.client_database_credentials ADD token text")
    try:
        for name, use in columns.items():
            call_command("nova_tables", "map", f"clients.{name}", use)
        call_command("nova_tables", "map", "client_database_credentials.token", "secret")
        nova.execute(
            "UPDATE public.clients SET token = 'token-of-client', note = 'plain-note', loose = note"
        )
        nova.execute("UPDATE public.client_database_credentials SET token = 'token-of-login'")
        push(client_ids=[pk])
        nova.execute("UPDATE public.clients SET token = 'token-of-today'")
        for value in ("token-of-client", "token-of-login", "token-of-today", "plain-note"):
            add_execution(nova, json.dumps([value]))

        assert find(pk) == {("idom", "public.executions.result"): 3}
        nova.execute("UPDATE public.clients SET loose = 'token-of-login'")
        assert ("idom", "public.clients.loose") in find(pk)
    finally:
        nova.execute("ALTER TABLE public.clients DROP token, DROP note, DROP loose")
        nova.execute("ALTER TABLE public.client_database_credentials DROP token")


VALUES = {
    "quotes": 'it\'s "quoted" `here`',
    "backslashes": r"back\slash\n \\ \u0041 \"",
    "blanks": "   example \t\r\n   ",
    "unicode": "contraseña-日本-😀-e\u0301",
    "control": "bell\x07 escape\x1b delete\x7f",
    "markup": "</script><b>&amp;'/path/to",
    "percent": "100%25+safe @:/?#[]",
    "long": ("4 KB: \"'\\\n\t é😀" * 400)[:4096],
}


def test_a_value_is_found_however_it_is_written(nova, find):
    nova.execute(
        "CREATE TABLE public.notes (plain text, short varchar(9000), ascii json, raw json, upper json, slashes json,"
        " binary_form jsonb, nested jsonb, code text, dsn text, list text[], lists varchar[][])"
    )
    pks = []
    for slug, value in VALUES.items():
        pks.append(make_client(slug))
        make_database(pks[-1], db_password_encrypted=value)
        ascii_only, raw = json.dumps({"x": [value]}), json.dumps({"x": [value]}, ensure_ascii=False)
        upper = re.sub(
            r"(\\\\)|\\u([0-9a-f]{4})",
            lambda found: found[1] or rf"\u{found[2].upper()}",
            ascii_only,
        )
        nova.execute(
            "INSERT INTO public.notes VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
            [
                f"before {value} after", value, ascii_only, raw, upper, ascii_only.replace("/", r"\/"), Jsonb([value]),
                Jsonb({"text": raw}), f"password = {value!r}", f"postgresql://me:{quote(value, safe='')}@db/x",
                ["first", value], [["a", "b"], ["c", value]],
            ],
        )  # fmt: skip
    columns = (
        "plain", "short", "ascii", "raw", "upper", "slashes", "binary_form", "nested", "code", "dsn", "list", "lists",
    )  # fmt: skip

    assert find(*pks) == {(slug, f"public.notes.{name}"): 1 for slug in VALUES for name in columns}
