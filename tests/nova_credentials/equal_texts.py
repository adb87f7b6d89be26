"""Texts that nearly are a document, and whether they are: the same answers as before there was any shortcut."""

import json

TEXT = '{"client_name": "Caf\u00e9", "database": {"port": 1, "password": "p w", "label": null}, "other_databases": []}'
DOCUMENT = json.loads(TEXT)

# Laid out otherwise than we write it, and the same document.
EQUAL = {
    "a blank less": TEXT.replace('": ', '":'),
    "a blank before": f" {TEXT}",
    "a line end behind": f"{TEXT}\n",
    "indented": json.dumps(DOCUMENT, indent=1),
    "escaped": json.dumps(DOCUMENT),
    "other order": json.dumps(dict(reversed(DOCUMENT.items())), ensure_ascii=False),
    "a key twice, the last one right": TEXT.replace('"port": 1', '"port": 2, "port": 1'),
    "the same key and value twice": TEXT.replace('"port": 1', '"port": 1, "port": 1'),
}
DIFFERENT = {
    "a blank in a value": TEXT.replace("p w", "p w "),
    "another blank in a value": TEXT.replace("p w", "p\u00a0w"),
    "null is missing": TEXT.replace(', "label": null', ""),
    "an empty text for null": TEXT.replace("null", '""'),
    "the word null": TEXT.replace("null", '"null"'),
    "an empty list is missing": TEXT.replace(', "other_databases": []', ""),
    "null for an empty list": TEXT.replace("[]", "null"),
    "an object for a list": TEXT.replace("[]", "{}"),
    "another unicode form": TEXT.replace("\u00e9", "e\u0301"),
    "another unicode form, escaped": TEXT.replace("\u00e9", "e\\u0301"),
    "another case": TEXT.replace("Caf", "caf"),
    "1.0": TEXT.replace('"port": 1', '"port": 1.0'),
    "1e0": TEXT.replace('"port": 1', '"port": 1e0'),
    "true": TEXT.replace('"port": 1', '"port": true'),
    "a text": TEXT.replace('"port": 1', '"port": "1"'),
    "a key twice, the last one wrong": TEXT.replace('"port": 1', '"port": 1, "port": 2'),
    "a key more": TEXT.replace('"port": 1', '"port": 1, "x": null'),
    "cut off": TEXT[:-1],
    "something behind": f"{TEXT}{{}}",
    "a mark before": f"\ufeff{TEXT}",
    "nothing": "",
}
