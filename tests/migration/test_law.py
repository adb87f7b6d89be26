"""The law, held against many random lives of a client."""

import os

import pytest

from migration.phases import Phase
from tests.migration.machine import machine, run
from tests.migration.world import a_world


@pytest.fixture
def world(stores, settings, monkeypatch):
    with a_world(stores, settings, monkeypatch) as world:
        yield world


@pytest.mark.parametrize("start", Phase)
def test_the_law_holds(world, start):
    run(machine(world, starts=[start]), examples=int(os.environ.get("N", "10")), steps=25, with_seed=1)
