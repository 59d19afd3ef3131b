"""What lesson 14 runs in several processes: a batch shared by two of them, gathered as it should be and as it is often done."""

import copy
import os
import socket
import tempfile
from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import torch
from jaxtyping import Float
from torch import Tensor, distributed

from ..config import Recipe
from ..learn.batch import Answers, Batch, diagonal
from ..learn.losses import loss_in_chunks, recipe_loss
from ..learn.processes import Team, gathered, joined_norms, share, span, sum_gradients, total
from ..learn.step import backward
from ..model.dual_encoder import TextSide

PLAIN = SimpleNamespace(autocast=nullcontext, backward=Tensor.backward)  # an accelerator of one device, in full precision
Found = tuple[float, Tensor]  # loss and gradient, one long vector
Case = tuple[TextSide, Batch, Recipe]
RIGHT, WHOLE, OWN = "with its gradient", "without, the whole matrix", "without, own rows"  # how embeddings are gathered
HOWS = (RIGHT, WHOLE, OWN)
LONGEST_S = 120  # that a process waits for another


def alone(case: Case) -> Found:
    """Loss and gradient of a batch in this process."""
    model, batch, recipe = case
    model = copy.deepcopy(model)
    return backward(model, batch, recipe, PLAIN), _gradient(model)


def in_processes(case: Case, size: int = 2) -> dict[str, Found]:
    """The same by each of HOWS, in so many processes that talk over this machine's loopback and meet at a file."""
    with tempfile.TemporaryDirectory() as folder:
        torch.multiprocessing.spawn(_work, args=(size, folder, case), nprocs=size)
        return torch.load(Path(folder) / "0.pt")


def _work(rank: int, size: int, folder: str, case: Case) -> None:
    log = os.open(Path(folder) / f"{rank}.log", os.O_CREAT | os.O_WRONLY)
    for stream in (1, 2):  # what gloo has to say belongs to no notebook
        os.dup2(log, stream)
    os.environ["GLOO_SOCKET_IFNAME"] = next((name for _, name in socket.if_nameindex() if name in ("lo", "lo0")), "")
    torch.set_num_threads(1)
    meeting = {"init_method": f"file://{folder}/meeting", "timeout": timedelta(seconds=LONGEST_S)}
    distributed.init_process_group("gloo", rank=rank, world_size=size, **meeting)
    found = {how: _as_one_of(Team(rank, size), case, how) for how in HOWS}
    torch.save(found, Path(folder) / f"{rank}.pt")
    distributed.barrier()
    distributed.destroy_process_group()


def _as_one_of(team: Team, case: Case, how: str) -> Found:
    model, batch, recipe = case
    model = copy.deepcopy(model)
    if how == RIGHT:
        value = backward(model, batch, recipe, PLAIN, team=team)
    else:
        with joined_norms(team, model, batch.images):
            own = model.encode_images(*(share(team, part) for part in batch.images))
        emb = tuple(gathered_without_gradient(team, x) for x in (own, model.encode_texts(share(team, batch.features))))
        loss = part_of_loss((model, batch, recipe), emb, team, how)
        loss.backward()
        value = total(team, loss)
    sum_gradients(team, model.parameters())
    return value, _gradient(model)


def gathered_without_gradient(team: Team, own: Float[Tensor, "share dim"]) -> Float[Tensor, "row dim"]:
    """What is often written: `all_gather`, which no gradient comes back through, and the own rows put back in their place."""
    with torch.no_grad():
        everybody = gathered(team, own.detach())
    start = span(team, len(everybody)).start
    return torch.cat([everybody[:start], own, everybody[start + len(own) :]])


def part_of_loss(case: Case, emb: tuple[Tensor, Tensor], team: Team, how: str) -> Float[Tensor, ""]:
    """A process's part, embeddings given: its share of the whole matrix's loss, or the loss of its own rows and texts."""
    model, batch, recipe = case
    if how != OWN:
        return recipe_loss(recipe, model.logits(*emb), batch.targets, batch.targets_t) / team.size
    n = len(batch.targets)
    answers = Answers(n, n, lambda units, texts: diagonal(units, texts, n))
    return loss_in_chunks(recipe, emb, model.logits, answers, span=(span(team, n), span(team, n)))


def as_if(case: Case, size: int, how: str) -> Found:
    """What so many processes would add up to that gather without gradient, worked out in this one: others' rows are detached."""
    model, batch, recipe = case
    model = copy.deepcopy(model)
    emb = model.encode_images(*batch.images), model.encode_texts(batch.features)
    teams = [Team(rank, size) for rank in range(size)]
    parts = [part_of_loss((model, batch, recipe), tuple(_seen_by(team, x) for x in emb), team, how) for team in teams]
    loss = torch.stack(parts).sum()
    loss.backward()
    return loss.item(), _gradient(model)


def _seen_by(team: Team, emb: Float[Tensor, "row dim"]) -> Float[Tensor, "row dim"]:
    own = span(team, len(emb))
    return torch.cat([emb[: own.start].detach(), emb[own], emb[own.stop :].detach()])


def _gradient(model: TextSide) -> Float[Tensor, " n"]:
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
