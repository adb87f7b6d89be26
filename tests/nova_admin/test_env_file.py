"""Files of settings: what a line means, which lines are refused, and the example that lists every setting."""

import os
import re
import subprocess
import sys

import environ
import pytest

from nova_admin import settings as own
from nova_admin.env_file import EXAMPLE, KEYS, EnvFileError, fill_example, read_env_file
from nova_admin.environment import EMBEDDED_VARIABLES
from nova_admin.trusted_proxies import TrustedProxies
from tests.checkout import ROOT

LINES = {
    "NAME=value": "value",
    "NAME= value\t": "value",
    "NAME=": "",
    "export NAME=value": "value",
    "NAME=a=b#c": "a=b#c",
    "NAME=it's": "it's",
    "NAME='a b'": "a b",
    'NAME=" a b "': " a b ",
    "NAME=''": "",
    r"NAME='a\b'": r"a\b",
    "NAME=$HOME": "$HOME",
    "NAME=contraseña": "contraseña",
}
REFUSED = {
    "\ufeffNAME=xyzzy": "begins with a byte order mark",
    "NAME=xyzzy\r": "ends with CR LF",
    "NAME='xyzzy": "opens a quote that it doesn't close",
    'NAME="xyzzy': "opens a quote that it doesn't close",
    "NAME='": "opens a quote that it doesn't close",
    "NAME='a'b": "goes on behind its quote",
    "NAME=\"a\" 'b'": "goes on behind its quote",
    r"NAME=a\b": "has a backslash",
    r'NAME="a\"b"': "goes on behind its quote",
    r'NAME="a\nb"': "has a backslash",
    "NAME = xyzzy": "is not NAME=value",
    "; NAME=xyzzy": "is not NAME=value",
    "NA-ME=xyzzy": "is not NAME=value",
    "NAME=a\0b": "holds a control character",
}


def write(tmp_path, text: str):
    file = tmp_path / "site.env"
    file.write_bytes(text.encode())
    return file


@pytest.mark.parametrize(("line", "value"), LINES.items(), ids=repr)
def test_a_line_means_to_this_reader_what_it_means_to_the_one_before(tmp_path, line, value):
    file = write(tmp_path, f"# Comment\n\n{line}\n")

    assert read_env_file(file) == {"NAME": value}
    before: dict[str, str] = {}
    reader = type("Reader", (environ.Env,), {"ENVIRON": before})
    reader.read_env(file)
    assert before["NAME"].strip() == value.strip()


@pytest.mark.parametrize(("line", "problem"), REFUSED.items(), ids=repr)
def test_a_line_that_readers_take_differently_is_refused_by_its_number_and_not_repeated(
    tmp_path, line, problem
):
    first = line.startswith("\ufeff")
    file = write(tmp_path, f"{line}\n" if first else f"OTHER=1\n{line}\n")

    with pytest.raises(EnvFileError) as refused:
        read_env_file(file)

    assert str(refused.value).startswith(f"site.env, line {1 if first else 2}, {problem}")
    assert "xyzzy" not in str(refused.value)


def test_the_last_of_several_lines_counts(tmp_path):
    assert read_env_file(write(tmp_path, "A=1\nA=2")) == {"A": "2"}


def test_a_file_that_is_not_utf8_is_refused(tmp_path):
    file = tmp_path / "site.env"
    file.write_bytes(b"A=1\nB=\xe1\n")

    with pytest.raises(EnvFileError, match=r"site\.env, line 2, is not UTF-8"):
        read_env_file(file)


@pytest.mark.parametrize("value", ["x", "a b", " a ", "'a'", '"a"', r"a\b", "#a", "$a", "", "it's"])
def test_a_filled_example_reads_back(tmp_path, value):
    given = {"DATABASE_URL": "postgresql://a:b%5C@c/d?host=/x&port=1", "NOVA_WORKERS": value}

    read = read_env_file(write(tmp_path, fill_example(given)))

    assert read | given == read
    assert (read["ALLOWED_HOSTS"], read["AWS_REGION"]) == ("", "us-east-1")
    assert "NOVA_CLEAN_STREAK" not in read  # a default is no line of anybody's file


@pytest.mark.parametrize("values", [{"NOVA_NO_SUCH": "1"}, {"PORT": "1\n2"}, {"PORT": "'\"' \\"}])
def test_what_no_line_holds_is_refused(values):
    with pytest.raises(ValueError, match=r"NOVA_NO_SUCH|PORT") as refused:
        fill_example(values)

    assert values.get("PORT", "?") not in str(refused.value)


def test_make_settings_prints_the_must_part_with_new_keys_and_needs_no_setting(tmp_path):
    def make() -> dict[str, str]:
        done = subprocess.run(
            [sys.executable, ROOT / "manage.py", "make_settings"], cwd=tmp_path,
            env={"PATH": os.environ["PATH"], "NOVA_WORKERS": "", "NOVA_ENV_FILE": "/nowhere"},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (0, "")
        return read_env_file(write(tmp_path, done.stdout))

    first, second = make(), make()

    assert list(first) == ["DATABASE_URL", "ALLOWED_HOSTS", *KEYS, "AWS_REGION"]
    assert len({*(first[key] for key in KEYS), *(second[key] for key in KEYS)}) == 6
    assert first | dict.fromkeys(KEYS) == second | dict.fromkeys(KEYS)


# `demo` sets these for its processes, and `start_stores` those of the embedded stores; the generic endpoint is refused.
NOBODYS = {"NOVA_DEMO", "NOVA_DEMO_PLACES", *EMBEDDED_VARIABLES.values(), "AWS_ENDPOINT_URL"}
READ_BY_BOTO3 = {
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_PROFILE",
    "AWS_CA_BUNDLE",
    "HTTPS_PROXY",
    "NO_PROXY",
}


def list_settings() -> dict[str, str]:
    """Every setting of the example with the default that it shows."""
    return dict(re.findall(r"^#?([A-Z_0-9]+)=(.*)$", EXAMPLE.read_text(), re.MULTILINE))


def test_the_example_has_every_setting_once_and_nothing_else():
    lines = re.findall(r"^#?([A-Z_0-9]+)=", EXAMPLE.read_text(), re.MULTILINE)

    assert sorted(lines) == sorted({*own.env.scheme} - NOBODYS | READ_BY_BOTO3)


@pytest.mark.parametrize("name", sorted({*own.env.scheme} - NOBODYS))
def test_the_example_shows_the_default_that_the_code_has(name):
    parse, default = own.env.scheme[name]

    shown = list_settings()[name]

    if shown:
        assert parse(shown) == default
    else:
        assert not default or default == TrustedProxies()


def test_each_setting_of_the_example_is_told_of_and_what_must_be_set_is_little():
    must, should, rarely = EXAMPLE.read_text().split("\n## ")[1:]

    assert [part.split("\n")[0] for part in (must, should, rarely)] == ["Must", "Should", "Rarely"]
    assert len(re.findall(r"^[A-Z_]+=", must, re.MULTILINE)) <= 6
    assert not re.findall(r"^[A-Z_]+=", rarely, re.MULTILINE)
    for part in (must, should, rarely):
        for block in part.split("\n\n")[1:]:
            assert block.startswith("# "), block
