"""The table of moves, walked pair by pair."""

import pickle
from itertools import product

import pytest

from nova_credentials.phases import MOVES, IllegalMove, Phase, StalePhase, check_move

LINE = ["postgres", "dual_write", "dual_read", "aws", "purged"]
NAMES = {
    ("postgres", "dual_write"): "forward",
    ("dual_write", "postgres"): "back",
    ("dual_write", "dual_read"): "forward",
    ("dual_read", "dual_write"): "back",
    ("dual_read", "aws"): "cutover",
    ("aws", "dual_read"): "rollback",
    ("aws", "purged"): "purge",
    ("purged", "aws"): "restore",
}


def test_the_phases_stand_in_the_order_of_their_line():
    assert list(Phase) == LINE


@pytest.mark.parametrize(("old", "new"), list(product(Phase, Phase)))
def test_a_client_moves_one_step_forward_or_back_and_nowhere_else(old, new):
    if abs(LINE.index(old) - LINE.index(new)) == 1:
        assert check_move("idom", old, new) == NAMES[old, new]
    else:
        with pytest.raises(IllegalMove) as refusal:
            check_move("idom", old, new)
        allowed = [phase for phase in Phase if (old, phase) in NAMES]
        assert str(refusal.value).startswith(f"idom is in {old.label}.")
        assert str(refusal.value).endswith(f", not to {new.label}.")
        assert all(str(phase.label) in str(refusal.value) for phase in allowed)


def test_the_table_holds_no_other_move():
    assert dict(MOVES) == NAMES


@pytest.mark.parametrize(
    ("refusal", "text"),
    [
        (
            IllegalMove("idom", Phase.POSTGRES, Phase.AWS),
            "idom is in PostgreSQL. It can move to Dual write, not to AWS (cut over).",
        ),
        (
            StalePhase("idom", Phase.DUAL_READ, Phase.AWS),
            "idom is no longer in Dual read: someone moved it to AWS (cut over).",
        ),
    ],
)
def test_a_refusal_survives_the_way_from_one_process_to_another(refusal, text):
    copy = pickle.loads(pickle.dumps(refusal))
    assert str(copy) == text
    assert vars(copy) == vars(refusal)


@pytest.mark.parametrize(
    ("phase", "reads_postgres", "reads_aws", "aws_is_authority", "writes_both"),
    [
        ("postgres", True, False, False, False),
        ("dual_write", True, False, False, True),
        ("dual_read", True, True, False, True),
        ("aws", False, True, True, True),
        ("purged", False, True, True, False),
    ],
)
def test_a_phase_tells_what_is_read_and_written(
    phase, reads_postgres, reads_aws, aws_is_authority, writes_both
):
    phase = Phase(phase)
    assert (phase.reads_postgres, phase.reads_aws) == (reads_postgres, reads_aws)
    assert (phase.aws_is_authority, phase.writes_both) == (aws_is_authority, writes_both)


def test_a_refusal_names_every_phase_that_is_allowed():
    with pytest.raises(IllegalMove) as refusal:
        check_move("idom", Phase.DUAL_READ, Phase.PURGED)

    assert str(refusal.value) == (
        "idom is in Dual read. It can move to AWS (cut over) or Dual write, not to Purged."
    )


def test_every_phase_has_the_label_of_its_store():
    assert {phase.value: str(phase.label) for phase in Phase} == {
        "postgres": "PostgreSQL",
        "dual_write": "Dual write",
        "dual_read": "Dual read",
        "aws": "AWS (cut over)",
        "purged": "Purged",
    }
