"""What a form refuses, and what it takes."""

from credentials.models import Client
from tests.credentials.client_admin.forms import change, errors_by_field, make_odd, stored
from tests.factories import make_aws, make_client, make_database, make_email
from tests.page_forms import errors_of, open_form, send_form


def test_two_primary_rows_of_one_kind_are_refused_in_words(edit, idom):
    for make in (make_database, make_email, make_aws):
        make(idom, label="second", is_primary=False)
    before = stored()

    kinds = {"databases": "database", "emails": "mail", "aws_logins": "AWS"}
    said = errors_of(edit(idom, **{f"{prefix}-1-is_primary": "true" for prefix in kinds}))

    assert [kind for kind in kinds.values() if f"2 {kind} logins are primary" not in said] == []
    assert stored() == before


def test_two_stored_primary_rows_stop_no_other_edit_and_can_be_mended(edit, idom):
    make_database(idom, label="second")

    assert edit(idom, name="New name").status_code == 302
    assert edit(idom, **{"databases-1-is_primary": "false"}).status_code == 302

    primary = Client.objects.get(pk=idom).databases.filter(is_primary=True)
    assert primary.count() == 1


def test_the_primary_row_can_be_exchanged_in_one_form(edit, idom):
    make_database(idom, label="second", is_primary=False)

    response = edit(idom, **{"databases-0-is_primary": "false", "databases-1-is_primary": "true"})

    assert response.status_code == 302
    assert Client.objects.get(pk=idom).databases.get(is_primary=True).label == "second"


def test_a_slug_that_no_secret_can_have_or_that_is_taken_is_refused(operator, idom):
    make_client("other")
    before, data = stored(), open_form(operator, change(idom))

    for slug in ("with space", "ñ", "a:b", "", "x" * 101):
        refused = send_form(operator, change(idom), data | {"slug": slug})
        assert set(errors_by_field(refused)) == {"slug"}, slug
    taken = send_form(operator, change(idom), data | {"slug": "other"})

    assert "already exists" in errors_of(taken)
    assert stored() == before


def test_a_bad_stored_slug_can_stay_and_can_be_mended(edit, idom):
    make_odd(idom, "clients", slug="bad slug")

    assert edit(idom, name="New name").status_code == 302
    assert edit(idom, slug="good-slug").status_code == 302

    assert Client.objects.get(pk=idom).slug == "good-slug"


def test_a_slug_that_ends_like_an_arn_is_saved_with_a_warning(edit, operator, idom):
    assert edit(idom, slug="client-abc123").status_code == 302

    shown = operator.get(change(idom)).context["messages"]
    assert [m.level_tag for m in shown].count("warning") == 1
    assert Client.objects.get(pk=idom).slug == "client-abc123"


def test_a_new_port_outside_the_range_is_refused(operator, idom):
    before, data = stored(), open_form(operator, change(idom))
    fields = {"databases-0-db_port", "emails-0-imap_port", "emails-0-smtp_port"}

    for port in ("0", "65536", "-1", "1.5", "abc", "99999999999999999999"):
        refused = send_form(operator, change(idom), data | dict.fromkeys(fields, port))
        said = errors_by_field(refused)
        assert fields - set(said) == set(), port

    assert stored() == before


def test_the_first_and_the_last_port_are_taken(edit, idom):
    for port in (1, 65535):
        changes = {"databases-0-db_port": str(port), "databases-0-db_password": "example-again"}
        assert edit(idom, **changes).status_code == 302
        assert Client.objects.get(pk=idom).databases.get().db_port == port


def test_a_field_that_nova_needs_cannot_be_emptied_nor_hold_a_null_byte(operator, idom):
    data = open_form(operator, change(idom))
    for typed, fields, words in (
        ("", ("name", "slug", "databases-0-db_host", "emails-0-email_user"), "required"),
        ("a\0b", ("name", "databases-0-db_host", "databases-0-db_password"), "Null characters"),
    ):
        refused = send_form(operator, change(idom), data | dict.fromkeys(fields, typed))

        said = errors_by_field(refused)
        assert [field for field in fields if words not in said[field]] == []


def test_a_pasted_string_that_is_none_is_an_error_of_a_stored_login_too(edit, idom):
    """It is no column, so it never counts as changed: nothing may take its error for one of an unchanged field."""
    before = stored()

    response = edit(idom, **{"databases-0-connection": "MARKER of nothing", "name": "Renamed"})

    (inline, *_others) = response.context_data["inline_admin_formsets"]
    assert set(inline.formset.forms[0].errors) == {"connection"}
    assert stored() == before


def test_a_number_of_logins_that_was_made_up_makes_no_endless_page(operator, idom):
    """The attack: a form of some fields that says it has a thousand million."""
    before = stored()
    form = open_form(operator, change(idom))
    for number in ("126", "1000000000", "-1", "x", ""):
        response = send_form(operator, change(idom), form | {"databases-TOTAL_FORMS": number})

        if response.status_code == 200:
            (inline, *_others) = response.context_data["inline_admin_formsets"]
            assert len(inline.formset.forms) <= 125, number
            assert errors_of(response)
        assert stored() == before


def test_more_stored_logins_than_that_are_shown(operator, idom):
    for number in range(130):
        make_database(idom, label=f"login {number}", is_primary=False)

    assert "databases-130-db_host" in open_form(operator, change(idom))


def problems(operator, pk) -> list[str]:
    response = operator.get(f"{change(pk)}?tab=logins")
    return [each.key for each in response.context.get("push_problems", [])]


def test_the_logins_say_why_a_push_would_fail_and_name_the_logins_as_their_cards_do(operator, idom):
    assert problems(operator, idom) == []
    make_database(idom, label="second")

    page = operator.get(f"{change(idom)}?tab=logins")

    (problem,) = page.context["push_problems"]
    assert problem.key == "several_logins_primary"
    assert "second" in str(problem)
    state = page.content.decode().partition('id="aws-state"')[2].partition("</div>")[0]
    assert "<a" not in state


def test_two_logins_of_the_same_name_are_told_apart_by_their_numbers_in_messages_and_cards(
    operator, idom
):
    first, second = Client.objects.get(pk=idom).databases.get(), make_database(idom)

    page = operator.get(f"{change(idom)}?tab=logins")

    (problem,) = page.context["push_problems"]
    name = str(first)
    assert str(problem).startswith(
        f"2 database logins are primary (database login {name} (no. {first.pk}),"
    )
    numbers = [card.get("number") for card in page.context["login_cards"]]
    assert [each for each in numbers if each] == [first.pk, second]


def test_of_a_slug_that_no_secret_can_have_the_field_is_open_beside_the_reason(operator, idom):
    assert not operator.get(f"{change(idom)}?tab=logins").context["client_card"]["is_open"]
    make_odd(idom, "clients", slug="bad slug")

    page = operator.get(f"{change(idom)}?tab=logins")

    assert problems(operator, idom) == ["name_not_allowed"]
    assert page.context["client_card"]["is_open"]
