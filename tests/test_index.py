"""Nearest items: exact while that is quick, then by an index that says what it misses."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from medclip_nb.measure import index
from medclip_nb.measure.index import nearest


def clustered(n: int, *, n_clusters: int = 40, dim: int = 24, seed: int = 0) -> np.ndarray:
    """Unit vectors in clusters of very different sizes, as texts on findings are."""
    rng = np.random.default_rng(seed)
    shares = 1 / np.arange(1, n_clusters + 1)
    centres = np.random.default_rng(7).normal(size=(n_clusters, dim))
    points = centres[rng.choice(n_clusters, n, p=shares / shares.sum())] + 0.4 * rng.normal(size=(n, dim))
    return (points / np.linalg.norm(points, axis=1, keepdims=True)).astype(np.float32)


ITEMS, QUERIES = clustered(3000), clustered(300, seed=1)


def by_loop(queries: np.ndarray, items: np.ndarray, k: int) -> list[list[int]]:
    """Every query against every item, sorted by similarity, then number."""
    found = []
    for query in queries:
        sims = [float(np.float32(sum(int(a) * int(b) for a, b in zip(query, item, strict=True)))) for item in items]
        found.append(sorted(range(len(items)), key=lambda j: (-sims[j], j))[:k])
    return found


SMALL = arrays(np.float32, st.tuples(st.integers(1, 9), st.just(3)), elements=st.integers(-2, 2))


@settings(max_examples=150, deadline=None)
@given(SMALL, SMALL, st.integers(1, 12), st.sampled_from([1, 5, 2**23]))
def test_the_exact_answer_is_that_of_a_loop_ties_and_short_lists_included(queries, items, k, cells):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(index, "CELLS", cells)
        found = nearest(queries, items, k=k)
    assert found.items.tolist() == by_loop(queries, items, k)
    assert np.array_equal(found.sim, np.take_along_axis(queries @ items.T, found.items, 1))
    assert (found.recall, found.n_sampled) == (1.0, 0)


def test_up_to_the_stated_size_no_index_is_made(monkeypatch):
    monkeypatch.setattr(index, "_by_index", None)
    assert nearest(QUERIES, ITEMS, k=5, most_exact=len(ITEMS)).recall == 1.0
    assert len(ITEMS) < index.EXACT_ITEMS


def test_the_recall_beside_the_answer_is_that_of_a_comparison_with_all():
    exact, found = nearest(QUERIES[:150], ITEMS, k=10), nearest(QUERIES[:150], ITEMS, k=10, most_exact=100, n_probes=2)
    wanted = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(exact.items.tolist(), found.items.tolist(), strict=True)])
    assert found.n_sampled == 150
    assert found.recall == pytest.approx(wanted, abs=1e-6)
    assert 10 / len(ITEMS) < found.recall < 1


def test_more_probes_miss_less_and_all_of_them_nothing():
    recalls = [nearest(QUERIES, ITEMS, k=10, most_exact=100, n_probes=n).recall for n in (1, 4, 16, 1000)]
    assert recalls == sorted(recalls)
    assert recalls[0] < 1 == recalls[-1]
    assert nearest(QUERIES, ITEMS, k=10, most_exact=100).n_sampled == index.N_SAMPLE


def test_equal_items_count_as_found_whichever_of_them_it_is():
    items = np.repeat(clustered(20), 100, axis=0)
    found = nearest(clustered(30, seed=2), items, k=10, most_exact=100, n_probes=1000)
    assert found.recall == 1


def test_places_the_index_cannot_fill_are_marked():
    found = nearest(QUERIES[:20], ITEMS, k=2000, most_exact=100, n_probes=1)
    empty = found.items < 0
    assert empty.any()
    assert (found.sim[empty] == -np.inf).all()
    assert np.isfinite(found.sim[~empty]).all()


def test_the_same_call_gives_the_same_answer():
    one, other = (nearest(QUERIES, ITEMS, k=5, most_exact=100, n_probes=3) for _ in range(2))
    assert np.array_equal(one.items, other.items)
    assert one.recall == other.recall


@pytest.mark.parametrize(("k", "n_probes"), [(0, 1), (-1, 1), (1, 0)])
def test_nothing_asked_for_is_refused(k, n_probes):
    with pytest.raises(ValueError, match=f"k is {k}, n_probes {n_probes}"):
        nearest(QUERIES, ITEMS, k=k, n_probes=n_probes)


def test_a_list_without_items_is_refused():
    with pytest.raises(ValueError, match="there are 0 items"):
        nearest(QUERIES, ITEMS[:0], k=1)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_an_embedding_that_is_not_finite_is_refused_by_its_number(bad):
    broken = ITEMS.copy()
    broken[7, 3] = bad
    with pytest.raises(ValueError, match="1 of 3000 item embeddings are NaN or infinite, the first is 7"):
        nearest(QUERIES, broken, k=1)


def test_without_faiss_a_long_list_is_refused_with_a_remedy_and_a_short_one_is_not(monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(ValueError, match=r"3000 items .*pip install 'medclip_nb\[big\]', or say most_exact=3000"):
        nearest(QUERIES, ITEMS, k=1, most_exact=2999)
    assert nearest(QUERIES, ITEMS, k=1, most_exact=3000).recall == 1


TOGETHER = """
import {first}, {second}, numpy as np
torch.set_num_threads(2); faiss.omp_set_num_threads(2)
x = np.random.default_rng(0).normal(size=(4000, 32)).astype("float32")
index = faiss.IndexFlatIP(32); index.add(x)
for _ in range(3):
    t = torch.from_numpy(x); t.requires_grad_(); (t @ t.T).square().mean().backward()
    best = index.search(x, 2)[1]
    assert (torch.from_numpy(x) @ torch.from_numpy(x).T).topk(2).indices.numpy().tolist() == best.tolist()
"""


@pytest.mark.parametrize("order", [("faiss", "torch"), ("torch", "faiss")])
def test_faiss_and_torch_compute_with_several_threads_in_one_process(order, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    code = TOGETHER.format(first=order[0], second=order[1])
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
