"""A batch too large for a matrix of all pairs: the same loss and gradients block by block, in memory linear in its size."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from test_organ_pairs import UNITS
from test_processes import chunked, image_pairs
from torch.nn.functional import normalize
from toy import toy_volumes

from medclip_nb.config import RECIPES
from medclip_nb.learn.batch import Answers
from medclip_nb.learn.losses import loss_in_chunks, recipe_loss
from medclip_nb.learn.organ_pairs import OrganPairs
from medclip_nb.learn.pairs import ImagePairs

KINDS = ("clip", "clip_same_text", "siglip", "siglip_identity", "radclip_true", "selip", "kept", "ct_glip", "volumes")


def random(n: int, dim: int, seed: int) -> torch.Tensor:
    """Directions that a gradient can be asked for."""
    found = torch.randn(n, dim, generator=torch.Generator().manual_seed(seed))
    return normalize(found).requires_grad_()


def pairs_of(kind: str):
    """Pairs of each kind of targets; texts repeat where they may."""
    if kind == "ct_glip":
        return OrganPairs(UNITS, replace(RECIPES["ct_glip"], n_dictionary=2))
    if kind == "volumes":
        return toy_volumes(24)
    made: ImagePairs = image_pairs("selip" if kind == "kept" else kind)
    return replace(made, recipe=replace(made.recipe, power=2.0, keep=3, similarity_weight=0.3)) if kind == "kept" else made


@pytest.mark.parametrize("n_spans", [1, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_blocks_give_the_loss_and_gradients_of_the_matrix_and_parts_of_it_add_up(kind, n_spans):
    pairs = pairs_of(kind)
    recipe, rows = getattr(pairs, "recipe", RECIPES["clip"]), pairs.train[:7]
    batch, large = pairs.batch(rows, np.random.default_rng(5)), chunked(pairs, rows, 2)
    assert large.targets is large.targets_t is large.valid is None
    emb = tuple(random(n, 5, n) for n in batch.targets.shape)
    plain = recipe_loss(recipe, 5 * emb[0] @ emb[1].T, batch.targets, batch.targets_t, batch.valid)
    spans = zip(*(cut(n, n_spans) for n in (large.answers.n_units, large.answers.n_owned)), strict=True)
    parts = [loss_in_chunks(recipe, emb, lambda x, y: 5 * x @ y.T, large.answers, span=span, chunk=3) for span in spans]
    for found, wanted in zip(*((v, *torch.autograd.grad(v, emb)) for v in (sum(parts), plain)), strict=True):
        assert torch.linalg.norm(found - wanted) <= 1e-5 * torch.linalg.norm(wanted)


def cut(n: int, parts: int) -> list[slice]:
    """Spans that hold each of n rows once."""
    edges = np.linspace(0, n, parts + 1).round().astype(int).tolist()
    return [slice(*edge) for edge in zip(edges, edges[1:], strict=False)]


def kept_bytes(n: int) -> int:
    """Bytes that the loss of n pairs keeps for the backward pass, the embeddings of 64 dimensions included."""
    images, texts = random(n, 64, 0), random(n, 64, 1)
    ids, kept = torch.arange(n) % 100, {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in (images, texts)}
    answers = Answers(n, n, lambda rows, texts: ids[rows, None] == ids[texts])

    def note(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        all_rows = (slice(0, n), slice(0, n))
        loss = loss_in_chunks(RECIPES["clip"], (images, texts), lambda x, y: 10 * x @ y.T, answers, span=all_rows)
    assert loss.requires_grad
    return sum(kept.values())


def test_the_loss_keeps_little_for_the_backward_pass_and_it_grows_with_the_batch_not_with_its_square():
    sizes = [512, 1024, 2048, 4096, 8192]
    kept = [kept_bytes(n) for n in sizes]
    assert kept[2] <= 1.2 * 2**20
    assert np.polyfit(np.log(sizes), np.log(kept), 1)[0] <= 1.1


def test_a_batch_above_the_limit_has_no_matrix_of_all_pairs():
    pairs = image_pairs("clip_same_text")
    rows = np.tile(pairs.train, 65)
    batch = pairs.batch(rows)
    assert batch.targets is None
    assert batch.answers.n_units == len(rows) == 1040
    assert pairs.batch(rows[:1024]).answers is None
