"""Bytes of files as people and spreadsheets make them: which text is read of them, and what is said of the others."""

import codecs
import csv

import pytest

from credentials.import_columns import IMPORT_COLUMNS
from migration.clients import imports
from migration.clients.imports import MOST_BYTES, ImportRefusedError, parse_import_file

ROW = "slug,name,db_password\nacme,Camión,páss\n"


def read(data: bytes):
    return parse_import_file(data, columns=IMPORT_COLUMNS)


def refusal(data: bytes):
    with pytest.raises(ImportRefusedError) as refused:
        read(data)
    return refused.value.message


@pytest.mark.parametrize(
    "data",
    [
        ROW.encode(),
        codecs.BOM_UTF8 + ROW.encode(),
        ROW.encode("utf-16"),
        codecs.BOM_UTF16_BE + ROW.encode("utf-16-be"),
        ROW.encode("utf-32"),
        ROW.replace("\n", "\r\n").encode(),
        ROW.replace("\n", "\r").encode(),
        ROW.replace(",", ";").encode(),
        ROW.replace(",", "\t").encode(),
        ("\n\n" + ROW + ",,\n\n,,\n").encode(),
        ROW.replace("slug", ' "SLUG "').encode(),
    ],
)
def test_the_same_cells_are_read_however_the_file_was_saved(data):
    found = read(data.replace(b' "SLUG "', b"SLUG "))

    assert found.warning is None
    (line,) = found.lines
    assert line.cells == {"slug": "acme", "name": "Camión", "db_password": "páss"}
    assert line.problem is None


def test_windows_1252_is_read_and_said():
    found = read(ROW.encode("cp1252"))

    assert found.lines[0].cells["name"] == "Camión"
    assert found.warning.key == "import_read_as_cp1252"


@pytest.mark.parametrize(
    ("data", "key"),
    [
        (b"", "import_file_empty"),
        (b"\r\n,,\r\n", "import_file_empty"),
        (b"slug,name\n", "import_no_lines"),
        (ROW.encode("utf-16-le"), "import_nul_in_first_line"),
        (codecs.BOM_UTF8 + ROW.encode("cp1252"), "import_not_decoded"),
        (codecs.BOM_UTF16_LE + b"odd", "import_not_decoded"),
        (b"slug\n\x81\xfe", "import_no_encoding"),
        (b"name,db_host\nAcme,db\n", "import_no_slug_column"),
        (b"slug,db_pasword\nacme,x\n", "import_columns_unknown"),
        (b"slug,name,slug\nacme,Acme,x\n", "import_columns_twice"),
        (b"slug,,name\nacme,,Acme\n", "import_column_unnamed"),
        (b'slug,name\nacme,"Acme\n', "import_malformed"),
        (b'slug,name\nacme,"Ac"me\n', "import_malformed"),
        (b"slug\n" + b"x" * 200_000, "import_malformed"),
        (b"x" * (MOST_BYTES + 1), "import_file_too_large"),
    ],
)
def test_a_file_that_can_t_be_read_is_refused_with_its_reason(data, key):
    assert refusal(data).key == key


def test_a_first_line_without_names_of_columns_is_not_quoted():
    assert "example-password" not in str(refusal(b"acme,Acme,example-password\n"))


def test_unknown_columns_are_named_in_part():
    message = str(refusal(f"slug,{'x' * 500},\u202eb\nacme,1,2\n".encode()))

    assert "x" * 41 not in message
    assert "\\u202eb" in message


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("acme,Acme", "import_line_too_short"),
        ("acme,Acme,x,y", "import_line_too_long"),
        ("acme,Acme,\0", "import_nul_in_cell"),
    ],
)
def test_a_line_of_another_shape_is_wrong_and_the_others_are_not(text, key):
    found = read(f"slug,name,db_password\nother,Other,x\n{text}\n".encode())

    assert [line.problem and line.problem.key for line in found.lines] == [None, key]


def test_lines_are_numbered_as_an_editor_does():
    found = read(b'slug,description\nacme,"two\nlines"\n\nother,one\n')

    assert [line.number for line in found.lines] == [2, 5]


def test_a_secret_is_taken_as_it_is():
    secret = "=1+1 \"\r\n' " + "ñ" * 4_096 + "\t "
    cell = secret.replace('"', '""')

    found = read(f'slug,db_password\nacme,"{cell}"\n'.encode())

    assert found.lines[0].cells["db_password"] == secret


def test_one_line_more_than_the_most_is_refused(monkeypatch):
    monkeypatch.setattr(imports, "MOST_LINES", 2)

    assert len(read(b"slug\na\nb\n").lines) == 2
    assert refusal(b"slug\na\nb\nc\n").key == "import_too_many_lines"


def test_nothing_of_a_cell_is_in_the_repr_of_a_line():
    assert "páss" not in repr(read(ROW.encode()))


def test_the_limit_of_a_cell_is_csv_s_own():
    assert csv.field_size_limit() == 131_072
