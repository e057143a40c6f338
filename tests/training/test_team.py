"""Processes that train together share work, sums and the clock."""

import sys
from types import ModuleType

import pytest
import torch
from torch import nn
from torch.multiprocessing.spawn import spawn

from training.average import Average
from training.team import Address, Team


def work(rank, address, folder):
    torch.set_num_threads(1)
    team = Team(rank, address)
    taken = []
    for step in range(4):
        taken.append(list(team.take(step, 5)))
        team.leader(0.0)
    values = [torch.full((2, 3), float(rank + 1)), torch.tensor([10.0 * rank])]
    team.add_up(values)
    clock = team.leader(7.5 if rank == 0 else -1.0)
    torch.save((taken, values, clock, team.leads), folder / f"{rank}.pt")
    team.leave()


@pytest.mark.slow
def test_two_processes(tmp_path, monkeypatch: pytest.MonkeyPatch):
    # A page run by another test may have left its script as the main module, which the new
    # processes would run again.
    monkeypatch.setitem(sys.modules, "__main__", ModuleType("__main__"))
    spawn(work, (Address.free(2), tmp_path), nprocs=2)
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1))
    for mine, yours in zip(first[0], second[0], strict=True):
        assert sorted(mine + yours) == [0, 1, 2, 3, 4]
    for _, values, clock, _ in (first, second):
        assert torch.equal(values[0], torch.full((2, 3), 3.0))
        assert values[1].item() == 10
        assert clock == 7.5
    assert (first[3], second[3]) == (True, False)


def test_a_team_of_one_does_everything_itself():
    team = Team()
    value = torch.tensor([3.0])
    team.add_up([value])
    assert (list(team.take(0, 3)), value.item(), team.leader(2.0), team.leads) == (
        [0, 1, 2],
        3.0,
        2.0,
        True,
    )


def test_the_average_by_hand():
    model = nn.Linear(1, 1, bias=False)
    weight = next(model.parameters())
    weight.data.fill_(1.0)
    average = Average(model, 0.5)
    expected = 1.0
    for step in range(1, 40):
        weight.data.fill_(float(step))
        average.follow()
        keep = min(0.5, step / (step + 10))
        expected = keep * expected + (1 - keep) * step
    assert average.values[0].item() == pytest.approx(expected)
    with average.in_use():
        assert weight.item() == pytest.approx(expected)
    assert weight.item() == 39.0
    average.give()
    assert weight.item() == pytest.approx(expected)


def test_no_average_is_the_weights_themselves():
    model = nn.Linear(1, 1, bias=False)
    average = Average(model, 0.0)
    next(model.parameters()).data.fill_(4.0)
    average.follow()
    assert average.values[0].item() == 4.0


def test_an_average_goes_on_from_a_checkpoint():
    model = nn.Linear(2, 2)
    first, second = Average(model, 0.9), Average(model, 0.9)
    for _ in range(3):
        for one in model.parameters():
            one.data += 1
        first.follow()
    second.restore(first.state())
    for one in model.parameters():
        one.data += 1
    first.follow()
    second.follow()
    assert all(torch.equal(a, b) for a, b in zip(first.values, second.values, strict=True))
    assert first.steps == second.steps == 4
