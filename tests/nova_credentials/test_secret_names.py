"""The names of a client's secrets, and those that AWS would refuse or take for an ARN."""

import pytest

from nova_credentials.document import Layout, name_problem, secret_names, warn_of_arn_like_name


def test_names_follow_the_layout():
    assert secret_names("idom", prefix="nova/clients", layout=Layout.CLIENT) == {
        "client": "nova/clients/idom"
    }
    assert secret_names("idom", prefix="nova/clients", layout=Layout.SERVICE) == {
        "database": "nova/clients/idom/database",
        "email": "nova/clients/idom/email",
        "aws": "nova/clients/idom/aws",
    }


@pytest.mark.parametrize(
    ("slug", "problem"),
    [
        ("idom", None),
        ("Idom_1+2=3.4@5-6", None),
        ("", "empty"),
        ("dos palabras", "AWS does not allow a space in"),
        ("camión", "AWS does not allow 'ó' in the name"),
        ("a\nb", r"'\n'"),
        ("a/b", "'/'"),
        ("a:b", "':'"),
        ("x" * 243, None),
        ("x" * 244, "257 characters"),
    ],
)
def test_a_name_that_aws_would_refuse_is_explained(slug, problem):
    said = name_problem(slug, prefix="nova/clients", layout=Layout.CLIENT)
    assert said is None if problem is None else problem in str(said)


def test_the_longest_of_the_names_counts():
    assert name_problem("x" * 243, prefix="nova/clients", layout=Layout.SERVICE) is not None
    assert name_problem("x" * 234, prefix="nova/clients", layout=Layout.SERVICE) is None


def test_an_illegal_prefix_is_a_problem_too():
    assert "a space" in str(name_problem("idom", prefix="nova clients", layout=Layout.CLIENT))


@pytest.mark.parametrize(
    ("slug", "layout", "warned"),
    [
        ("acme-madrid", Layout.CLIENT, True),
        ("acme-madrid", Layout.SERVICE, False),
        ("acme-lisboa1", Layout.CLIENT, False),
        ("acme", Layout.CLIENT, False),
        ("acme-", Layout.SERVICE, True),  # ".../acme-/email"
    ],
)
def test_a_name_that_ends_like_an_arn_is_warned_of(slug, layout, warned):
    assert (warn_of_arn_like_name(slug, prefix="nova/clients", layout=layout) is not None) == warned
