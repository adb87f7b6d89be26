"""What becomes of the browser tests where there is no browser."""

from pathlib import Path

import pytest

from tests.browser import do_without


def test_without_a_browser_they_are_skipped_with_a_word_on_how_to_get_one(monkeypatch):
    monkeypatch.delenv("REQUIRE_BROWSER", raising=False)

    with pytest.raises(pytest.skip.Exception, match="apt-get install chromium"):
        do_without()


def test_where_one_is_required_they_fail_without_it(monkeypatch):
    monkeypatch.setenv("REQUIRE_BROWSER", "1")

    with pytest.raises(pytest.fail.Exception, match="apt-get install chromium"):
        do_without()


def test_in_ci_one_is_required():
    ci = (Path(__file__).parents[2] / ".ci" / "run").read_text()

    assert "install -y -qq --no-install-recommends chromium" in ci
    assert ci.index("export REQUIRE_BROWSER=1") < ci.index("make check test")
