"""The state of a run on disk: what is written comes back bit by bit, or not at all."""

import pytest
import torch
from safetensors.torch import load_file

from medclip_nb.learn import resume
from medclip_nb.learn.resume import STATE, fingerprint, load_state, save_state

SETTINGS = {"plan": {"epochs": 3, "rate": 0.1}, "units": (4, 2)}


def trained(steps: int, seed: int = 0):
    """A small network, its optimiser, and a function that goes one step on."""
    torch.manual_seed(seed)
    net = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 1))
    optimizer = torch.optim.AdamW([{"params": net[0].parameters(), "lr": 0.1}, {"params": net[2].parameters(), "lr": 0.01}])

    def step(x: torch.Tensor):
        net(x).sum().backward()
        optimizer.step()
        optimizer.zero_grad()

    for i in range(steps):
        step(torch.full((2, 3), float(i)))
    return net, optimizer, step


def saved(folder, net, optimizer, history=((1, 0.1),)):
    about = {"settings": SETTINGS, "history": [{"epoch": e, "loss": x} for e, x in history]}
    save_state(folder, about, {"model": net.state_dict(), "best": {}}, optimizer)


def test_weights_and_moments_come_back_bit_by_bit(tmp_path):
    net, optimizer, _ = trained(3)
    saved(tmp_path, net, optimizer)
    _, fresh, _ = trained(0, seed=1)
    _, groups = load_state(tmp_path, SETTINGS, fresh)
    assert list(groups) == ["model"]
    assert all(torch.equal(groups["model"][k], v) for k, v in net.state_dict().items())
    for slot, again in zip(optimizer.state.values(), fresh.state.values(), strict=True):
        assert all(torch.equal(slot[k], again[k]) for k in ("step", "exp_avg", "exp_avg_sq"))


def test_the_next_step_after_coming_back_is_the_one_that_would_have_been(tmp_path):
    net, optimizer, step = trained(3)
    saved(tmp_path, net, optimizer)
    other, fresh, other_step = trained(0, seed=1)
    other.load_state_dict(load_state(tmp_path, SETTINGS, fresh)[1]["model"])
    for go in (step, other_step):
        go(torch.ones(2, 3))
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), other.parameters(), strict=True))
    assert [g["lr"] for g in fresh.param_groups] == [0.1, 0.01]


def test_numbers_of_the_history_come_back_exactly(tmp_path):
    net, optimizer, _ = trained(1)
    history = [(1, 0.1 + 0.2), (2, 1e-17), (3, float("nan"))]
    saved(tmp_path, net, optimizer, history)
    found = [(row["epoch"], row["loss"]) for row in load_state(tmp_path, SETTINGS, optimizer)[0]["history"]]
    assert found[:2] == history[:2]
    assert found[2][1] != found[2][1]


def test_an_optimiser_that_has_not_stepped_yet_is_kept_too(tmp_path):
    net, optimizer, _ = trained(0)
    saved(tmp_path, net, optimizer)
    _, groups = load_state(tmp_path, SETTINGS, optimizer)
    assert len(groups["model"]) == 4
    assert not optimizer.state


def test_there_is_no_pickle_in_the_folder(tmp_path):
    net, optimizer, _ = trained(2)
    saved(tmp_path, net, optimizer)
    assert [f.name for f in tmp_path.iterdir()] == [STATE]
    assert "model/0.weight" in load_file(tmp_path / STATE)


def test_a_folder_without_a_state_and_one_that_is_not_there_have_none(tmp_path):
    _, optimizer, _ = trained(0)
    assert load_state(tmp_path, SETTINGS, optimizer) is None
    assert load_state(tmp_path / "missing", SETTINGS, optimizer) is None


@pytest.mark.parametrize("change", [{"plan": {"epochs": 4, "rate": 0.1}}, {"units": (4, 3)}, {"more": 1}])
def test_a_state_of_other_settings_is_none_and_leaves_the_optimiser_alone(tmp_path, change):
    net, optimizer, _ = trained(2)
    saved(tmp_path, net, optimizer)
    _, fresh, _ = trained(0)
    assert load_state(tmp_path, SETTINGS | change, fresh) is None
    assert not fresh.state


def test_writing_that_fails_leaves_the_old_state(tmp_path, monkeypatch):
    net, optimizer, _ = trained(2)
    saved(tmp_path, net, optimizer, [(1, 0.5)])

    def save(_, path, metadata):
        path.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(resume, "save_file", save)
    with pytest.raises(OSError, match="disk full"):
        saved(tmp_path, net, optimizer, [(1, 0.5), (2, 0.4)])
    about, groups = load_state(tmp_path, SETTINGS, optimizer)
    assert len(about["history"]) == 1
    assert torch.equal(groups["model"]["0.weight"], net[0].weight)
    assert [f.name for f in tmp_path.iterdir()] == [STATE]


def test_a_new_state_takes_the_place_of_the_old(tmp_path):
    net, optimizer, step = trained(2)
    saved(tmp_path, net, optimizer)
    step(torch.ones(2, 3))
    saved(tmp_path, net, optimizer, [(1, 0.5), (2, 0.4)])
    about, groups = load_state(tmp_path, SETTINGS, optimizer)
    assert len(about["history"]) == 2
    assert torch.equal(groups["model"]["0.weight"], net[0].weight)


def test_a_fingerprint_tells_any_other_content_and_is_the_same_for_the_same():
    one = [torch.arange(6.0), torch.tensor(True), torch.tensor([1.5], dtype=torch.bfloat16)]
    changed = [torch.arange(6.0), torch.tensor(False), torch.tensor([1.5], dtype=torch.bfloat16)]
    assert fingerprint(one) == fingerprint([t.clone() for t in one])
    assert fingerprint([torch.arange(6.0).reshape(2, 3).T]) == fingerprint([torch.tensor([0.0, 3, 1, 4, 2, 5])])
    assert len({fingerprint(one), fingerprint(changed), fingerprint(one[:2]), fingerprint([])}) == 4
