"""What no browser sends: values, bodies, headers and methods, and the real forms whose fields take such values."""

from typing import Any

from tests.page_forms import open_form

CLIENTS, RUNS, COMPARISONS = (
    "/admin/credentials/client/",
    "/admin/migration/run/",
    "/admin/migration/comparison/",
)
NUL, DIGITS = "a\0b", "9" * 5000
# Each in an address as it stands there. The last ones are what Django's admin writes for a NUL and for no character.
IDS = (
    DIGITS,
    "9" * 25,
    "9" * 19,
    "-1",
    "x",
    "%00",
    "a%00b",
    "%FF",
    "%C2%B2",
    "%D9%A3",
    "_00",
    "_FF",
)
VALUES = (
    "%00",
    DIGITS,
    "9" * 19,
    "-1",
    "x",
    "",
    "%FF%C3%28",
    "%ED%A0%80",
    "%C2%B2",
    "a%0D%0Ab:c",
    "1e400",
)
# Names that pages read from an address, of ours and of Django's lists and forms.
NAMES = (
    *("q", "o", "p", "e", "all", "id", "id__exact", "_popup", "_to_field", "_facets", "_changelist_filters"),
    *("phase", "comparison", "push", "read", "active", "import", "seen", "state", "kind__exact", "status__exact"),
    *("tab", "history", "items", "page", "status", "kind", "field", "age", "owner", "next", "language"),
    *("is_staff__exact", "groups__id__exact", "groups", "date_joined", "email-email_provider"),
    *("app_label", "model_name", "field_name", "term", "s", "compared_at__gte", "client_id", "test"),
    *("clients", "override", "back", "confirmed", "action", "select_across"),
)  # fmt: skip

FORM = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data; boundary=x"
PART = b'--x\r\nContent-Disposition: form-data; name="kind"'
# A content type and a body.
BODIES = {
    "json that ends in the middle": ("application/json", b'{"kind": "che'),
    "multipart that ends in a value": (MULTIPART, PART + b"\r\n\r\nche"),
    "multipart that ends in a header": (MULTIPART, PART[:20]),
    "multipart without a boundary": ("multipart/form-data", b"kind=x"),
    "a boundary of odd characters": ("multipart/form-data; boundary=\xff", b"kind=x"),
    "base64 that is none": (MULTIPART, PART + b"\r\nContent-Transfer-Encoding: base64\r\n\r\n!\r\n--x--\r\n"),
    "a file's name with a NUL": (MULTIPART, PART + b'; filename="a\0b"\r\n\r\nx\r\n--x--\r\n'),
    "an unknown charset": (f"{FORM}; charset=klingon", b"kind=x"),
    "a charset of two bytes": (f"{FORM}; charset=utf-16", b"kind=x"),
    "a charset that is no text": (f"{MULTIPART}; charset=zlib", PART + b"\r\n\r\nx\r\n--x--\r\n"),
    "a charset that always fails": (f"{MULTIPART}; charset=undefined", PART + b"\r\n\r\nx\r\n--x--\r\n"),
    "bytes that are no UTF-8": (FORM, b"kind=%ff&reason=\xff\xfe&\xff=1"),
    "too many fields": (FORM, b"&".join([b"a=1"] * 1001)),
    "too large": (FORM, b"a=" + b"1" * 2_700_000),
    "no type": ("", b"kind=x"),
    "separators alone": (FORM, b"&&;==%&"),
}  # fmt: skip
LENGTHS = ("abc", "-5", "1.5", "0x3", "\xb2", "+3", DIGITS)

OCTAL_NUL = '"' + "\\000" * 32 + '"'
HEADERS: dict[str, dict[str, str]] = {
    "a session of NULs": {"cookie": f"sessionid={OCTAL_NUL}"},
    "a session of odd characters": {"cookie": "sessionid=" + "\xff" * 32},
    "a session of 9000 characters": {"cookie": "sessionid=" + "x" * 9000},
    "a token of NULs": {"cookie": f"csrftoken={OCTAL_NUL}", "x-csrftoken": "\xff"},
    "messages of NULs": {"cookie": f"messages={OCTAL_NUL}"},
    "a language of NULs": {"cookie": f"django_language={OCTAL_NUL}"},
    "an unknown language": {"accept-language": "\xff,;q=zz,es-" + "x" * 300},
    "languages without end": {"accept-language": "es," * 2000},
    "another host": {"host": "evil.example"},
    "no host": {"host": ""},
    "half an address as host": {"host": "[::1"},
    "a port too many": {"host": "localhost:999999999"},
    "an odd host": {"host": "\xe9 a"},
    "odd forwarded headers": {"x-forwarded-for": "\xff", "x-forwarded-host": "a b", "x-forwarded-proto": "\xff"},
    "half an address as origin": {"origin": "http://[::1", "referer": "http://[::1"},
    "a date that is none": {"if-modified-since": "\xff 99 99", "if-none-match": "\xff", "range": "bytes=-9"},
    "odd htmx headers": {"hx-request": "\xff", "hx-trigger-name": DIGITS},
}  # fmt: skip
METHODS = ("PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND", "FOO", "get", "DISPATCH", "")

# These do the same whatever the form holds, or take any text as the reason: only what is refused before the page may be
# sent to them.
WITHOUT_FIELDS = (
    *(
        "/admin/logout/",
        f"{RUNS}aws-writes/start/",
        f"{RUNS}aws-writes/stop/",
        f"{RUNS}notices/test/",
        f"{RUNS}compare-all/",
    ),
    *(
        "/admin/migration/copysearch/start/",
        "/compare/",
        "/db_password/",
        "/approve/",
        "/cancel/",
        "/delete/",
        "/health/",
        "/check-aws/",
        "/secret-settings/",
    ),
)

# Fields of a list that steer what an action does, and are nothing that is looked up.
STEERING = {"action", "select_across", "index"}


def list_forms(browser: Any, ids: dict[str, int]) -> list[tuple[str, dict[str, Any]]]:
    """Every form of the site as a browser sends it, save for values that have it refused: nothing is done."""
    client, run, user = ids["/client/"], ids["/run/"], ids["/people/"]
    row = {"select_across": "0", "index": "0"}
    page = f"{CLIENTS}{client}/"
    actions = (
        "push",
        "set_owner",
        "download",
        "compare_selected",
        "test_logins_selected",
        "back_to_postgres",
        "cutover",
        "restore",
        "delete_selected",
    )
    resolution = {
        "reason": "",
        "until": "2000-01-01",
        "shown": str(ids["/comparison/"]),
        "back": "/admin/",
    }
    changed = open_form(browser, f"{page}change/")
    return [
        ("/i18n/setlang/", {"language": "es", "next": "/admin/"}),
        ("/admin/login/", {"username": "nobody", "password": "example", "next": "/admin/"}),
        ("/admin/password_change/", {"old_password": "x", "new_password1": "y", "new_password2": "y"}),
        ("/admin/login/forgot/", {"who": "nobody"}),
        ("/admin/login/link/", {"new_password1": "1", "new_password2": "2"}),
        ("/admin/people/invite/", {"name": "", "mail": "x", "role": "0", "current_password": "x"}),
        (f"/admin/people/{user}/details/", {"name": "", "mail": "", "seen": "x", "current_password": "x"}),
        (f"/admin/people/{user}/role/", {"role": "1", "seen": "x", "current_password": "x"}),
        ("/admin/people/failed-logins/let-in/", {"user": "nobody", "address": "x", "back": "/admin/"}),
        *((CLIENTS, {"action": name, "_selected_action": "999999", **row}) for name in actions),
        (f"{CLIENTS}act/set_owner/", {"confirmed": "1", "clients": str(client), "owner": ""}),
        (
            f"{CLIENTS}act/put_into_group/",
            {"confirmed": "1", "clients": f"{client}: 0", "group": "", "new_name": "", "first": "0"},
        ),
        (f"{CLIENTS}legacy/", {"seen": "x"}),
        *(
            (
                f"{CLIENTS}act/{code}/?clients={client}",
                {"clients": f"{client}:x", "confirmed": "1", "typed": "x", "reason": "x", "schedule_deletion": "on"},
            )
            for code in ("dual_read", "cutover", "purge", "restore", "rollback", "back_to_postgres")
        ),
        (f"{page}resolve/", {"kind": "acknowledge", **resolution}),
        (f"{page}test-logins/", {"store": "postgres", "kind": "database", "login": "0", "label": ""}),
        (f"{page}test-typed/database/{ids['/database/']}/", changed | {"databases-0-db_port": "0"}),
        (f"{page}test-new/database/", changed | {"row": "databases-0", "databases-0-db_port": "0"}),
        (f"{CLIENTS}add/test/database/", {"row": "databases-0", "databases-0-db_host": "h"}),
        (f"{page}reveal/database/{ids['/database/']}/db_password/", {"password": "x", "reason": ""}),
        (f"{page}rotate/database/{ids['/database/']}/", {"confirmed": "0"}),
        (f"{page}rotation-schedule/", {"days": "0"}),
        (
            f"{CLIENTS}add/",
            {"name": "n", "slug": "", "databases-TOTAL_FORMS": "1", "databases-INITIAL_FORMS": "0"}
            | {"databases-0-db_port": "0", "databases-0-connection": "postgres://h", "_add_login": "databases"},
        ),
        (f"{CLIENTS}import/", {"order": "import", "plan": "x.y", "migrate": "yes"}),
        (f"{page}change/", changed | {"name": "", "databases-0-db_port": "0"}),
        (f"{RUNS}aws-writes/stop/", {"reason": ""}),
        (f"{RUNS}aws-writes/claim/", {"reason": ""}),
        (f"{RUNS}health/", {"role": "no-such-role"}),
        (f"{RUNS}notices/set/", {"shown": "x", "mail": "run_ended", "webhook": "x"}),
        (f"{RUNS}{run}/steer/", {"order": "", "item": "1"}),
        (f"{CLIENTS}act/plan/{ids['/act/plan/']}/", {"confirmed": "0", "reason": "x"}),
        (f"{CLIENTS}act/push/?clients={client}", {"confirmed": "0", "clients": f"{client}:0", "reason": "x"}),
        (
            f"{CLIENTS}act/acknowledge/?clients={client}",
            {"confirmed": "0", "clients": f"{client}:0", "reason": "x", "until": "x"},
        ),
        (f"{RUNS}{run}/steer/", {"order": "retry", "item": "0"}),
        (f"{RUNS}{run}/rate/", {"writes": "0", "reads": "0", "logins": "0"}),
        (f"{COMPARISONS}report/check/", {"_selected_action": "0"}),  # all: it compares at once
        (f"{COMPARISONS}report/act/copy_to_aws/", {"clients": "0:0", "_selected_action": "0", "select_across": ""}),
        (f"{COMPARISONS}report/undo/", {}),
        ("/admin/credentials/columnmapping/map/", {"use": "secret", "column": "clients.x", "seen": ""}),
        ("/admin/credentials/columnmapping/accept/", {"digest": "x", "reason": "x"}),
        (f"{page}comment/", {"text": ""}),
        (f"{page}leaving/", {"act": "offboard", "slug": "", "reason": "x", "acknowledged": "0"}),
        (f"{page}comment/take-back/", {"comment": "0"}),
        (f"{page}copy-to-postgres/undo/", {"seen": "x", "reason": ""}),
        (f"{page}versions/restore/", {"seen": "x", "reason": ""}),
        (f"{page}versions/take-pending-off/", {"name": "x", "version_id": "x"}),
    ]  # fmt: skip
