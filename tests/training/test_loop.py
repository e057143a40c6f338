"""Training loop: it learns, and a resumed training equals an uninterrupted one."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from training import loop
from training.average import Average
from training.loop import BatchRecipe, Moment, Plan
from training.optimise import Rates, optimisers
from training.positions import sinusoids
from training.stories import Curriculum
from training.team import Team


class Line(BatchRecipe):
    """Smallest recipe: fit y = 2 x."""

    rates = Rates(muon=1e-2, adam=1e-2, warm_steps=2, hold=0.5)

    def __init__(self):
        self.random = np.random.default_rng(0)
        self.drawn = []

    def loss(self, model, moment):
        x = torch.from_numpy(self.random.normal(size=(8, 2))).float()
        self.drawn.append(round(float(x[0, 0]), 6))
        return ((model(x) - 2 * x) ** 2).mean()

    def figures(self, model):
        return {"error": 0.0}

    def state(self):
        return {"seen": len(self.drawn)}

    def restore(self, state):
        self.drawn = [None] * state["seen"]


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    return Plan(
        minutes=0.02,
        out=tmp_path,
        data=None,
        device=torch.device("cpu"),
        threads=1,
        resume=False,
        start=None,
    )


def test_a_training_lowers_the_loss_and_leaves_a_checkpoint(plan):
    torch.manual_seed(0)
    model, recipe = nn.Linear(2, 2), Line()
    x = torch.ones(1, 2)
    before = (model(x) - 2 * x).abs().sum().item()
    result = loop.train(model, recipe, plan)
    assert (model(x) - 2 * x).abs().sum().item() < before
    assert result["steps"] == len(recipe.drawn)
    assert plan.checkpoint.exists()


def test_an_averaged_training_ends_with_the_average(plan, monkeypatch):
    model, recipe = nn.Linear(2, 2), Line()
    recipe.rates = replace(recipe.rates, average=1.0)  # the newer weights hardly count
    kept = []
    follow = Average.follow
    monkeypatch.setattr(Average, "follow", lambda self: (follow(self), kept.append(self))[0])
    loop.train(model, recipe, plan)
    assert torch.equal(model.weight, kept[-1].values[0])
    last = torch.load(plan.checkpoint, weights_only=True)["model"]["weight"]
    assert not torch.equal(model.weight, last)


def test_a_recipe_of_one_batch_refuses_a_team():
    team = Team()
    team.size = 2
    with pytest.raises(ValueError, match="one process"):
        Line().gradients(nn.Linear(2, 2), Moment(0, 0.0), team)


def test_a_resumed_training_draws_what_would_have_come_next(plan):
    torch.manual_seed(0)
    model, recipe = nn.Linear(2, 2), Line()
    loop.train(model, recipe, plan)
    following = recipe.random.normal(size=(8, 2))[0, 0]
    other, again = nn.Linear(2, 2), Line()
    loop.train(other, again, replace(plan, resume=True, minutes=plan.minutes + 0.005))
    assert again.drawn[: len(recipe.drawn)] == [None] * len(recipe.drawn)
    assert again.drawn[len(recipe.drawn)] == pytest.approx(following, abs=1e-5)


def test_a_checkpoint_restores_weights_and_peaks(plan):
    model, recipe = nn.Linear(2, 2), Line()
    steppers = optimisers(model, recipe.rates)
    average = Average(model, 0.9)
    average.values[0].fill_(5.0)
    loop.save_checkpoint(plan.checkpoint, model, steppers, recipe, average, step=7, elapsed=3.5)
    other = nn.Linear(2, 2)
    halved = replace(recipe.rates, adam=5e-3)
    fresh = optimisers(other, halved)
    again = Average(other, 0.9)
    assert loop.load_checkpoint(plan.checkpoint, other, fresh, Line(), again) == (7, 3.5)
    assert torch.equal(model.weight, other.weight)
    assert (again.values[0] == 5.0).all()
    assert fresh[0].param_groups[0]["peak"] == 5e-3


def test_hidden_matrices_go_to_muon_and_tables_do_not():
    model = nn.ModuleDict({"wte": nn.Embedding(5, 4), "mlp": nn.Linear(4, 4)})
    adam, muon = optimisers(model, Line.rates)
    assert [p.shape for g in muon.param_groups for p in g["params"]] == [(4, 4)]
    assert sum(len(g["params"]) for g in adam.param_groups) == 2


def test_tables_of_state_spaces_do_not_go_to_muon_and_do_not_decay():
    model = nn.ModuleDict({"conv1d": nn.Conv1d(4, 4, 3, groups=4), "dt_proj": nn.Linear(4, 4)})
    adam, muon = optimisers(model, Line.rates)
    assert [p.shape for g in muon.param_groups for p in g["params"]] == [(4, 4)]
    (still,) = (g for g in adam.param_groups if g["weight_decay"] == 0.0)
    assert (4, 1, 3) in [tuple(p.shape) for p in still["params"]]


def test_the_rate_climbs_holds_and_falls():
    rates = Rates(muon=1.0, adam=1.0, warm_steps=10, hold=0.5, floor=0.1)
    factors = [rates.factor(step, step / 100) for step in range(101)]
    assert factors[0] == pytest.approx(0.1)
    assert set(factors[10:51]) == {1.0}
    assert all(later < earlier for earlier, later in pairwise(factors[51:]))
    assert factors[-1] == pytest.approx(0.1)


def test_the_course_widens_only_when_copies_are_predicted():
    curriculum = Curriculum(lengths=6)
    for _ in range(200):
        curriculum.note(2.0)
    assert (curriculum.vocabulary, curriculum.length, curriculum.widest) == (64, 0, False)
    for _ in range(2000):
        curriculum.note(0.1)
    assert curriculum.widest
    assert curriculum.vocabulary == 4096


def test_neighbouring_positions_are_more_alike_than_distant_ones():
    table = sinusoids(256, 64, 1.0)
    alike = table @ table.T
    assert (alike.diagonal(1) > alike.diagonal(9)[0]).all()
    assert torch.allclose(alike.diagonal(), torch.full((256,), 32.0), atol=1e-3)


def test_a_moment_is_frozen():
    with pytest.raises(AttributeError):
        Moment(0, 0.0).step = 1
