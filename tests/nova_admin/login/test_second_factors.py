"""Codes of an app and recovery codes: which count, how often, and what is stored of them."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from allauth.mfa.models import Authenticator
from django.core import mail
from django.db import connection

from migration.people import second_factors
from migration.people.second_factors import (
    CODE_OF_ANOTHER_TIME,
    CodeVerdict,
    WrongSetupCodeError,
    accept_password_or_code,
    check_code,
    encrypt_factors_anew,
    find_wait,
    renew_recovery_codes,
    set_up_second_factor,
)
from tests.factories import make_user
from tests.nova_admin.login.codes import Phone, give_factor
from tests.nova_admin.login.conftest import PASSWORD


@pytest.mark.parametrize(
    ("off", "answer"), [(0, "right"), (30, "right"), (-60, "wrong"), (60, "wrong"), (600, "wrong")]
)
def test_a_code_counts_in_its_half_minute_and_in_those_beside_it(maria, at, off, answer):
    phone, _ = give_factor(maria)

    assert check_code(user=maria, code=phone.show(off)) == answer


def test_the_code_of_the_half_minute_before_counts_too(maria, at):
    phone, _ = give_factor(maria)
    at.now += 60

    assert check_code(user=maria, code=phone.show(-30)) is CodeVerdict.RIGHT


def test_a_code_counts_once_and_so_does_no_earlier_one(maria, at):
    phone, _ = give_factor(maria)
    at.now += 60
    assert (
        check_code(user=maria, code=f" {phone.show()[:3]} {phone.show()[3:]} ") is CodeVerdict.RIGHT
    )

    assert check_code(user=maria, code=phone.show()) is CodeVerdict.WRONG
    assert check_code(user=maria, code=phone.show(-30)) is CodeVerdict.WRONG
    at.now += 30
    assert check_code(user=maria, code=phone.show()) is CodeVerdict.RIGHT


def test_of_many_who_give_one_code_at_once_one_gets_in(transactional_db, at):
    maria = make_user("maria")
    phone, codes = give_factor(maria)

    def give(code: str) -> CodeVerdict:
        try:
            return check_code(user=maria, code=code)
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as pool:
        for code in (phone.show(), codes[0]):
            assert list(pool.map(give, [code] * 4)).count(CodeVerdict.RIGHT) == 1


def test_the_code_that_set_it_up_does_not_count_again(maria, at):
    phone = Phone()
    set_up_second_factor(user=maria, secret=phone.secret, code=phone.show())

    assert check_code(user=maria, code=phone.show()) is CodeVerdict.WRONG


def test_a_recovery_code_counts_once(maria, at):
    _, codes = give_factor(maria)

    assert len(set(codes)) == 10
    assert check_code(user=maria, code=codes[3]) is CodeVerdict.RIGHT
    assert check_code(user=maria, code=codes[3]) is CodeVerdict.WRONG
    assert check_code(user=maria, code=f"{codes[4][:4]} {codes[4][4:]}") is CodeVerdict.RIGHT
    assert second_factors.count_recovery_codes(maria) == 8


def test_new_recovery_codes_replace_the_old_ones(maria, at):
    _, codes = give_factor(maria)

    new = renew_recovery_codes(maria)

    assert check_code(user=maria, code=codes[0]) is CodeVerdict.WRONG
    assert check_code(user=maria, code=new[0]) is CodeVerdict.RIGHT
    assert mail.outbox[-1].to == ["maria@example.test"]
    assert "recovery codes" in mail.outbox[-1].body


def test_what_is_no_code_is_wrong(maria, at):
    give_factor(maria)

    for code in ("", "12345", "1234567", "abcdef", "١٢٣٤٥٦", "1" * 5000, "00000000"):
        assert check_code(user=maria, code=code) is CodeVerdict.WRONG
        at.now += find_wait(maria)


def test_somebody_without_a_factor_has_no_code(maria):
    assert check_code(user=maria, code="123456") is CodeVerdict.WRONG


def give_wrong(user, times: int = 1) -> list[CodeVerdict]:
    return [check_code(user=user, code="000000") for _ in range(times)]


def test_after_five_wrong_codes_the_person_is_told_and_the_next_is_looked_at_later(
    maria, at, django_capture_on_commit_callbacks
):
    phone, _ = give_factor(maria)
    mail.outbox.clear()
    with django_capture_on_commit_callbacks(execute=True):
        answers = give_wrong(maria, times=6)
        assert mail.outbox == []  # a mail server that is slow holds nobody's row

    assert answers == [CodeVerdict.WRONG] * 5 + [CodeVerdict.TOO_SOON]
    (told,) = mail.outbox
    assert "wrong codes" in told.body
    at.now += 29
    assert check_code(user=maria, code=phone.show()) is CodeVerdict.TOO_SOON
    at.now += 1
    assert check_code(user=maria, code=phone.show()) is CodeVerdict.RIGHT
    assert check_code(user=maria, code="000000") is CodeVerdict.WRONG


def test_each_further_wrong_code_doubles_the_wait_up_to_an_hour(maria, at):
    give_factor(maria)
    give_wrong(maria, times=5)
    waits = []
    for _ in range(9):
        waits.append(find_wait(maria))
        at.now += waits[-1] - 1
        assert give_wrong(maria) == [CodeVerdict.TOO_SOON]
        at.now += 1
        assert give_wrong(maria) == [CodeVerdict.WRONG]

    assert waits == [30, 60, 120, 240, 480, 960, 1920, 3600, 3600]


def test_somebody_who_is_logged_in_waits_for_no_guesses_and_makes_nobody_wait(maria, at):
    phone, codes = give_factor(maria)
    give_wrong(maria, times=5)

    assert accept_password_or_code(user=maria, answer=phone.show(), login="a login")
    assert not accept_password_or_code(user=maria, answer=phone.show(), login="a login")
    assert accept_password_or_code(user=maria, answer=codes[0], login="a login")
    assert find_wait(maria) == 30
    at.now += 30
    assert give_wrong(maria) == [CodeVerdict.WRONG]
    for _ in range(5):
        assert not accept_password_or_code(user=maria, answer="000000", login="a login")
    assert find_wait(maria) == 60


def test_with_a_new_password_the_wait_ends(maria, at):
    phone, _ = give_factor(maria)
    give_wrong(maria, times=5)
    maria.set_password("another-login-password")
    maria.save()

    assert find_wait(maria) == 0
    assert check_code(user=maria, code=phone.show()) is CodeVerdict.RIGHT


def test_of_guesses_somebody_is_told_once_a_day(maria, at, django_capture_on_commit_callbacks):
    phone, _ = give_factor(maria)
    begun, told = at.now, []
    for hour in (1, 2, 24, 25, 26):
        at.now = begun + hour * 3600
        mail.outbox.clear()
        assert check_code(user=maria, code=phone.show()) is CodeVerdict.RIGHT
        with django_capture_on_commit_callbacks(execute=True):
            give_wrong(maria, times=5)
        told += [hour] * len(mail.outbox)

    assert told == [1, 25]


@pytest.mark.parametrize(("off", "minutes"), [(600, 10), (-600, 10), (-60, 1)])
def test_at_the_set_up_a_clock_that_is_off_is_named_with_its_minutes(maria, at, off, minutes):
    phone = Phone()

    with pytest.raises(WrongSetupCodeError) as refused:
        set_up_second_factor(user=maria, secret=phone.secret, code=phone.show(off))

    assert refused.value.message == CODE_OF_ANOTHER_TIME(n=minutes)
    assert not Authenticator.objects.exists()


def test_at_the_set_up_a_wrong_code_says_that_the_clock_may_be_wrong(maria, at):
    with pytest.raises(WrongSetupCodeError, match="check your phone's clock"):
        set_up_second_factor(user=maria, secret=Phone().secret, code="")


def test_neither_secret_nor_recovery_codes_stand_in_the_database(maria, at):
    phone, codes = give_factor(maria)

    stored = json.dumps(list(Authenticator.objects.values_list("data", flat=True)))

    assert "gAAAA" in stored
    assert not [each for each in (phone.secret, *codes) if each in stored]


def test_with_the_key_before_as_a_fallback_codes_go_on_counting_and_can_be_encrypted_anew(
    maria, at, settings
):
    phone, codes = give_factor(maria)
    settings.SECRET_KEY_FALLBACKS, settings.SECRET_KEY = [settings.SECRET_KEY], "another" * 10
    assert check_code(user=maria, code=codes[0]) is CodeVerdict.RIGHT

    assert encrypt_factors_anew() == (2, 0)
    settings.SECRET_KEY_FALLBACKS = []

    assert check_code(user=maria, code=codes[1]) is CodeVerdict.RIGHT
    assert check_code(user=maria, code=phone.show()) is CodeVerdict.RIGHT


def test_without_its_key_a_factor_is_unreadable_and_nothing_of_it_is_lost(maria, at, settings):
    phone, _ = give_factor(maria)
    before, settings.SECRET_KEY = settings.SECRET_KEY, "another" * 10

    assert check_code(user=maria, code=phone.show()) is CodeVerdict.UNREADABLE
    assert encrypt_factors_anew() == (0, 2)
    settings.SECRET_KEY = before
    assert check_code(user=maria, code=phone.show()) is CodeVerdict.RIGHT


def test_an_identity_is_proved_by_the_password_or_by_a_code(maria, at):
    phone, codes = give_factor(maria)

    assert accept_password_or_code(user=maria, answer=PASSWORD, login="a login")
    assert accept_password_or_code(user=maria, answer=phone.show(), login="a login")
    assert accept_password_or_code(user=maria, answer=codes[0], login="a login")
    assert not accept_password_or_code(user=maria, answer="wrong", login="a login")
    assert not accept_password_or_code(user=maria, answer="", login="a login")
    maria.set_unusable_password()
    assert not accept_password_or_code(user=maria, answer="", login="a login")
