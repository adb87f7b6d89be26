"""Sentences that are stored, printed or raised are shown in Spanish."""

from collections import Counter
from datetime import date, timedelta
from importlib import import_module

import pytest
from django.utils import timezone
from django.utils.translation import override

from credentials.localization import localize, localize_html
from credentials.models import CREDENTIAL_MODELS, ROW_NAMES
from credentials.nova_columns import COLUMN_CHANGES, ColumnChange
from migration.clients.page import HAS_LOGINS
from migration.core.clients import PhaseChoices
from migration.core.comparisons import STATUSES
from migration.core.outgoing import LoginOutcome
from migration.core.sentences import LOGIN_OUTCOMES
from migration.logins.models import LoginStore
from migration.logins.testing import ADVICE, STORES, CopyAdvice
from migration.models import Comparison, Rate, Resolution
from migration.moves.moves import NO_VALUE_IN_AWS
from migration.moves.rules import FAILURE_CAUSES
from migration.nova.models import AwsFailure
from migration.pushes.comparisons import MISSING_IN_AWS
from migration.pushes.pushes import NOT_PUSHED_INACTIVE, OUTCOMES
from migration.pushes.resolutions import RESOLUTIONS
from migration.runs.items import Outcome
from migration.runs.models import RUN_NAMES, Run
from migration.runs.progress import RATE_REACHED
from migration.secrets.layouts import LAYOUTS
from migration.secrets.versions import KINDS
from nova_credentials import sentences as shared
from nova_credentials.aws.answers import _ADVICE, ErrorClass, SecretsManagerError
from nova_credentials.credential_types import CredentialType
from nova_credentials.document import Layout
from nova_credentials.messages import SENTENCES, Message, Sentence
from nova_credentials.phases import IllegalMove, Phase, StalePhase
from tests.languages.spanish import ENTRIES, english, forms
from tests.languages.stored_keys import NOT_STORED, list_declared, read_stored

# A value of each kind: in English and in Spanish.
VALUES = {
    "n": (65_536, "65,536", "65\xa0536"),
    "day": (date(2026, 12, 24), "24 Dec 2026", "24 dic 2026"),
    "rows": ((ROW_NAMES["email"](id="3"),), "mail login 3", "acceso de correo 3"),
    "result": (STATUSES["mismatch"](), "Mismatch", "Discrepancia"),
    "run": (RUN_NAMES["push"](id="1234"), "Push 1234", "Envío 1234"),
    "error": (NOT_PUSHED_INACTIVE(), "Inactive.", "Inactivo."),
    # A name, or whatever it is, that sounds like a sentence of ours.
    "name": ("Inactive.", "Inactive.", "Inactive."),
}
for path in {path for _, path in list_declared()}:  # some are imported by a command alone
    import_module(path.removesuffix(".py").replace("/", "."))
WHOLE = SENTENCES.values()
# Each English form of a text, singular or plural, with the Spanish of many.
SPANISH = {form: forms(entry.string)[-1] for entry in ENTRIES for form in forms(entry.id)}


def value_of(name: str) -> tuple:
    if name == "ago":
        return timezone.now() - timedelta(minutes=5, seconds=30), "5 minutes", "5 minutos"
    return VALUES.get(name, ("Match", "Match", "Match"))


def find_wrong_texts(sentence: Sentence) -> list[str]:
    """How the sentence is shown with its values, where that is neither its English nor its Spanish text."""
    values = {name: value_of(name) for name in sentence.value_names}
    message = Message.from_json(
        sentence(**{name: value for name, (value, _, _) in values.items()}).to_json()
    )
    in_english = sentence.template % {name: text for name, (_, text, _) in values.items()}
    translated = SPANISH.get(sentence.template, sentence.template)
    in_spanish = translated % {name: text for name, (_, _, text) in values.items()}
    with override("es"):
        shown = localize(message)
    wrong = [str(message)] if str(message) != in_english else []
    return wrong + ([shown] if shown != in_spanish or sentence.template not in SPANISH else [])


def test_each_sentence_is_shown_in_spanish_with_its_values():
    assert len(WHOLE) > 1000
    wrong = {sentence.key: find_wrong_texts(sentence) for sentence in WHOLE}

    assert {key: texts for key, texts in wrong.items() if texts} == {}


def test_a_sentence_of_one_and_a_list_are_shown_in_spanish():
    with override("es"):
        assert localize(HAS_LOGINS(n=1)) == "Tiene 1 acceso."
        assert localize(MISSING_IN_AWS(names=("a", "b"))) == (
            "AWS no tiene ningún valor con el nombre a o b."
        )
        assert localize(NO_VALUE_IN_AWS(rows=(ROW_NAMES["aws"](id="1"), "b"))) == (
            "AWS no tiene ningún valor para acceso a AWS 1, b."
        )


def test_every_key_is_declared_once():
    """A constant may have a clearer name than its key, which rows hold: `MOVE_REQUESTED` has "requested"."""
    declared = [key for key, _ in list_declared()]

    assert [key for key, times in Counter(declared).items() if times > 1] == []
    assert set(SENTENCES) == set(declared)


def test_a_key_that_rows_may_hold_is_declared_for_ever():
    """Whoever reads a row, a worker or a command, knows the sentence once the apps are ready.

    A new one needs its line: `python -m tests.languages.stored_keys`.
    """
    known = {key for key, path in list_declared() if not path.startswith(NOT_STORED)}

    assert sorted(read_stored() - known) == []
    assert sorted(known - read_stored()) == []


LABELS = (
    (STATUSES, Comparison.Status.choices),
    (OUTCOMES, Outcome.choices),
    (shared.PHASES, PhaseChoices.choices),
    (
        RUN_NAMES,
        # Behind “Moves” a number would read as how many.
        [(k.value, "Move %(id)s" if k == Run.Kind.MOVE else f"{k.label} %(id)s") for k in Run.Kind],
    ),
    (STORES, LoginStore.choices),
    (FAILURE_CAUSES, AwsFailure.choices),
    (
        ROW_NAMES,
        [(kind, f"{model._meta.verbose_name} %(id)s") for kind, model in CREDENTIAL_MODELS.items()],
    ),
)


# A sentence for each code of an enum.
BY_CODE = (
    (COLUMN_CHANGES, ColumnChange),
    (RESOLUTIONS, Resolution.Kind),
    (RATE_REACHED, Rate.Kind),
    (LOGIN_OUTCOMES, LoginOutcome),
    (ADVICE, CopyAdvice),
    (KINDS, CredentialType),
    (LAYOUTS, Layout),
)


@pytest.mark.parametrize(("declared", "codes"), BY_CODE)
def test_there_is_a_sentence_for_each_code(declared, codes):
    assert set(declared) == set(codes)


@pytest.mark.parametrize(("declared", "choices"), LABELS)
def test_a_label_within_a_sentence_is_the_one_that_pages_show(declared, choices):
    with override("en"):
        labels = {key: str(label) for key, label in choices}

    assert {key: sentence.template for key, sentence in declared.items()} == labels


@pytest.mark.parametrize("code", [*_ADVICE, "AccessDeniedException", "ThrottlingException"])
@pytest.mark.parametrize("error_class", ErrorClass)
def test_an_error_of_aws_is_told_in_spanish(code, error_class):
    error = SecretsManagerError(error_class, code, "PutSecretValue", "nova/clients/idom")
    with override("es"):
        found = localize(error.message)

    assert found.startswith(
        f"PutSecretValue ha fallado para el secreto 'nova/clients/idom' con {code}:"
    )
    assert english(found) == []


def test_refusals_of_a_move_are_told_in_spanish():
    with override("es"):
        assert localize(IllegalMove("idom", Phase.DUAL_READ, Phase.PURGED).message) == (
            "idom está en Lectura doble. Puede pasar a AWS o Escritura doble, no a Purgado."
        )
        assert localize(StalePhase("idom", Phase.AWS, Phase.PURGED).message).startswith(
            "idom ya no está en AWS"
        )


def test_a_sentence_of_an_earlier_release_is_left_and_marked_as_english():
    with override("es"):
        assert localize_html(Message.from_text_without_key("<b>Inactive.")) == (
            '<span lang="en">&lt;b&gt;Inactive.</span>'
        )
        assert localize_html(NOT_PUSHED_INACTIVE()) == "Inactivo."
        assert localize_html(None) == ""
