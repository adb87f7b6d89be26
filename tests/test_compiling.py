"""The processes of a run find their modules compiled, and as pytest compiles them."""

from _pytest.assertion import rewrite

from tests import compiling


def test_what_pytest_reads_is_what_it_would_make_itself(pytestconfig, tmp_path, monkeypatch):
    source = tmp_path / "inner" / "test_one.py"
    source.parent.mkdir()
    source.write_text("def test_one():\n    assert 1 == 1\n")
    monkeypatch.setattr(compiling, "TESTS", tmp_path)
    monkeypatch.setattr("sys.dont_write_bytecode", False)

    compiling.compile_tests(pytestconfig)

    read = rewrite._read_pyc(source, compiling.name_compiled(source))
    assert read == rewrite._rewrite_test(source, pytestconfig)[1]


def test_every_module_that_this_process_rewrote_is_among_them(pytestconfig):
    hook = pytestconfig.stash[rewrite.assertstate_key].hook
    own = {path for path in hook._rewritten_names.values() if path.is_relative_to(compiling.TESTS)}

    assert own
    assert own <= set(compiling.find_modules())


def test_where_python_may_not_write_nothing_is_written(pytestconfig, tmp_path, monkeypatch):
    (tmp_path / "test_one.py").write_text("")
    monkeypatch.setattr(compiling, "TESTS", tmp_path)
    monkeypatch.setattr("sys.dont_write_bytecode", True)

    compiling.compile_tests(pytestconfig)

    assert [path.name for path in tmp_path.iterdir()] == ["test_one.py"]
