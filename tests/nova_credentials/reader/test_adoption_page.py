"""What docs/nova.md tells NOVA to do, done literally."""

import json
import re
import textwrap
import tomllib

from nova_credentials import reader as drop_in
from tests.checkout import ROOT

PAGE = (ROOT / "docs/nova.md").read_text()
BLOCKS = {
    language: [
        textwrap.dedent(text)
        for text in re.findall(rf"^ *```{language}\n(.*?)^ *```$", PAGE, re.MULTILINE | re.DOTALL)
    ]
    for language in ("diff", "json", "python")
}


def added_lines(diff: str) -> list[str]:
    return [line.removeprefix("+") for line in diff.splitlines() if line.startswith("+")]


def test_novas_file_becomes_the_one_line_of_its_diff():
    requirements, module = BLOCKS["diff"]
    novas: dict[str, object] = {}
    exec("\n".join(added_lines(module)), novas)
    assert novas.keys() >= set(drop_in.__all__)

    (line,) = added_lines(requirements)
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert line.endswith(f"/nova_credentials-{version}-py3-none-any.whl")


def test_the_policy_is_json_that_allows_reading_the_secrets_alone():
    (policy,) = BLOCKS["json"]
    (statement,) = json.loads(policy)["Statement"]
    assert statement["Action"] == "secretsmanager:GetSecretValue"
    assert statement["Resource"].endswith(":secret:nova/clients/*")


def test_the_filter_leaves_no_secret_in_what_nova_stores():
    namespace: dict[str, object] = {}
    exec(next(block for block in BLOCKS["python"] if "def without_secrets" in block), namespace)
    stored = {
        "slug": "idom",
        "database": {"db_host": "h", "db_password": "example-1"},
        "mails": [{"email_password": "example-2"}, ({"app_password": "example-3"},)],
    }

    filtered = namespace["without_secrets"](stored)

    assert "example" not in json.dumps(filtered)
    assert (filtered["slug"], filtered["database"]["db_host"]) == ("idom", "h")


def test_every_name_of_the_drop_in_that_the_helper_lacks_is_told_of():
    for name in ("get_aws_credentials", "get_available_credentials", "NOVA_CONNECTION_DRIVER"):
        assert f"`{name}`" in PAGE
