"""What AWS holds is read again by each comparison and push: a text that is nearly ours is no match, and is written."""

import json

import pytest

from credentials.models import Client
from migration.models import Comparison, Secret
from migration.pushes import pushes
from migration.pushes.comparisons import compare
from migration.runs.items import Outcome
from tests.factories import make_client, make_database, make_full_client
from tests.migration.pushes.pushed import push_one

NAME = "nova/clients/idom"

pytestmark = pytest.mark.usefixtures("stores")


def make_nearly(slug: str) -> int:
    """A client whose document has what a careless look takes for the same."""
    pk = make_client(slug, name="Caf\u00e9")
    make_database(pk, db_port=1, db_password_encrypted="p w", label=None)
    return pk


def make_idom() -> int:
    pk = make_nearly("idom")
    push_one(pk)
    return pk


def compare_one(pk: int) -> str:
    return compare(client_ids=[pk])[pk].status


# What is replaced in the text that AWS holds, and whether that leaves it the same document.
CHANGES = {
    "nothing": ("", "", True),
    "a blank between": ('": ', '":', True),
    "escaped": ("\u00e9", "\\u00e9", True),
    "a key twice, the last one right": ('"port": 1,', '"port": 2, "port": 1,', True),
    "a key twice, the last one wrong": ('"port": 1,', '"port": 1, "port": 2,', False),
    "a blank in a value": ("p w", "p w ", False),
    "another unicode form": ("\u00e9", "e\u0301", False),
    "1.0": ('"port": 1,', '"port": 1.0,', False),
    "true": ('"port": 1,', '"port": true,', False),
    "a text": ('"port": 1,', '"port": "1",', False),
    "null is missing": (', "label": null', "", False),
    "the word null": ('"label": null', '"label": "null"', False),
    "an empty list is missing": (', "other_aws": []', "", False),
}


def test_only_the_same_document_matches_and_is_left_unwritten(sm, monkeypatch):
    monkeypatch.setattr("migration.pushes.comparisons.RECHECK_AFTER_SECONDS", 0)
    pks = {what: make_nearly(f"c{n}") for n, what in enumerate(CHANGES)}
    names = {what: f"nova/clients/c{n}" for n, what in enumerate(CHANGES)}
    pushes.push(client_ids=list(pks.values()))
    versions = {}
    for what, (old, new, _is_same) in CHANGES.items():
        text = sm.get_value(names[what]).text
        assert old in text, what
        versions[what] = sm.put_value(names[what], text.replace(old, new) if old else text)

    compared = compare(client_ids=list(pks.values()))
    pushed = pushes.push(client_ids=list(pks.values()), overwrite=True)

    results = {result.client_id: result.outcome for result in pushed}
    for what, (_old, _new, is_same) in CHANGES.items():
        pk, held = pks[what], sm.get_value(names[what])
        status = Comparison.Status.MATCH if is_same else Comparison.Status.MISMATCH
        outcome = Outcome.UNCHANGED if is_same else Outcome.UPDATED
        assert (compared[pk].status, results[pk]) == (status, outcome), what
        assert (held.version_id == versions[what]) == is_same, what
        assert json.loads(held.text) == Client.objects.get(pk=pk).build_document(), what
    again = compare(client_ids=list(pks.values()))
    assert {each.status for each in again.values()} == {Comparison.Status.MATCH}


def test_another_order_of_the_keys_is_the_same_document(sm):
    pk = make_idom()
    document = json.loads(sm.get_value(NAME).text)
    version = sm.put_value(NAME, json.dumps(dict(reversed(document.items())), ensure_ascii=False))

    assert compare_one(pk) == Comparison.Status.MATCH
    assert push_one(pk).outcome == Outcome.UNCHANGED
    assert Secret.objects.get(name=NAME).version_id == version


def test_a_secret_that_is_another_clients_is_refused_though_it_holds_the_same():
    pk, other = make_idom(), make_client("acme")
    Secret.objects.update(client_id=other)

    assert push_one(pk).message.codes == ["not_ours", "owned_by_client"]

    assert Secret.objects.get().client_id == other


def test_what_is_unchanged_is_handed_to_no_thread(monkeypatch):
    handed = []

    class Pool(pushes.ContextThreads):
        def map(self, function, *each):
            handed.append([pending.snapshot.slug for pending in each[0]])
            return super().map(function, *each)

    monkeypatch.setattr(pushes, "ContextThreads", Pool)
    pks = [make_full_client("idom"), make_full_client("acme")]
    push_one(pks[0])
    handed.clear()

    results = pushes.push(client_ids=pks)

    assert handed == [["acme"]]
    assert {r.slug: r.outcome for r in results} == {"idom": "unchanged", "acme": "created"}


def test_an_unchanged_client_is_done_after_the_time_too():
    """Nothing of it is left to be begun."""
    pk = make_full_client("idom")
    push_one(pk)

    assert push_one(pk, seconds=1e-9).outcome == Outcome.UNCHANGED


def test_a_secret_of_our_name_that_no_push_has_met_is_asked_about(sm):
    """Its text alone doesn't make it ours."""
    pk = make_full_client("idom")
    document = Client.objects.get(pk=pk).build_document()
    sm.sm.create_secret(Name=NAME, SecretString=json.dumps(document, ensure_ascii=False))

    assert push_one(pk).refused
