"""SeLIP on head MR: units and texts, retrieval against slow loops on made-up embeddings, probes, prompts, models."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from toy import unit_vectors

from medclip_nb.config import HEAD_BATCH, PRESETS, RECIPES
from medclip_nb.data.phantoms.head import FIELD_MM
from medclip_nb.data.studies import Units
from medclip_nb.lesson import selip, selip_scores
from medclip_nb.measure.findings import mean_auc
from medclip_nb.measure.retrieval import ndcg_at
from medclip_nb.model.dual_encoder import TextSide
from medclip_nb.model.text_tower import TEXT_DIM, embed_texts
from medclip_nb.text.alike import text_similarity
from medclip_nb.text.similarity import GRAMMARS, parse

PLACES = ("left thalamus", "right thalamus", "pons")
SIGNALS = ("patchy high signal", "large high signal", "punctate low signal")
SPLITS = {"train": 40, "val": 20, "test": 30}
N = sum(SPLITS.values())
WAYS = {f"{way}, {score}" for way in ("image to text", "text to image") for score in ("R@1", "R@10", "nDCG@10")}


def some_findings(seed: int = 0, n: int = N) -> list[list[tuple[str, str]]]:
    """Findings of units, none to two of them each, sorted."""
    rng = np.random.default_rng(seed)
    one = lambda: (PLACES[rng.integers(3)], SIGNALS[rng.integers(3)])  # noqa: E731
    return [sorted(one() for _ in range(rng.integers(3))) for _ in range(n)]


@pytest.fixture(scope="module")
def made_up() -> selip.HeadUnits:
    """Units of which many share a text, and some say the same in other words."""
    shown = some_findings()
    said = [selip.write(own) + " too" * (i % 2) for i, own in enumerate(shown)]
    texts, ids = np.unique(said, return_inverse=True)
    table = pd.DataFrame({"image": np.random.default_rng(1).permutation(N), "text_id": ids, "finding": "", "report": said})
    table["split"] = np.repeat(list(SPLITS), list(SPLITS.values()))
    table["patient_id"] = table["study_id"] = [f"p{i}" for i in range(N)]
    kinds = [{f"kind of {place}" for place, _ in own} for own in shown]
    images = np.random.default_rng(2).integers(0, 255, (N, 1, 4, 16, 16), np.uint8)
    features = torch.from_numpy(unit_vectors(len(texts), TEXT_DIM))
    return selip.HeadUnits(Units(images, texts.tolist(), table), shown, kinds, features)


@pytest.fixture(scope="module")
def model() -> TextSide:
    """Its texts' side alone, which has learnt nothing."""
    torch.manual_seed(0)
    return TextSide(embed_dim=8, scale=1.0, bias=0.0, text_dim=TEXT_DIM).eval()


@pytest.fixture(scope="module")
def data(home):
    from medclip_nb.data.catalog import load

    return load("head", PRESETS["smoke"])


# units and texts


def test_units_are_the_volumes_of_the_sequences_asked_for(heads, data):
    wanted = data.manifest[data.manifest["sequence"].isin(["FLAIR", "DWI"])]
    assert heads.table["study_id"].tolist() == wanted["study_id"].tolist()
    assert heads.units.images.shape == (len(wanted), 1, *data.contract.size)
    assert len(heads.shown) == len(heads.kinds) == len(heads.table)
    assert heads.features.shape[0] == len(heads.units.texts) == len(set(heads.units.texts))
    for text, shown in zip(wanted["findings"], heads.shown, strict=True):
        assert shown == sorted((f["location"], f["signal"]) for f in json.loads(text))


def test_a_structured_text_is_read_back_as_what_the_unit_shows(heads):
    texts = [heads.units.texts[i] for i in heads.table["text_id"]]
    assert [parse(text, GRAMMARS["en"]) for text in texts] == heads.shown
    assert {text for text, own in zip(texts, heads.shown, strict=True) if not own} == {selip.NOTHING}


def test_what_a_text_finds_is_what_each_of_its_units_shows(data):
    heads = selip.head_units(data, sequences=("T2",), n_train=20)
    assert [heads.found[i] for i in heads.table["text_id"]] == heads.shown
    assert heads.units.texts == sorted({selip.write(own) for own in heads.shown})


@pytest.mark.parametrize(
    ("ask", "said"), [({"wording": "loud"}, "unknown wording 'loud'"), ({"sequences": ("ADC",)}, "no volume of ADC")]
)
def test_a_wording_or_a_sequence_that_is_not_there_is_named(data, ask, said):
    with pytest.raises(ValueError, match=said):
        selip.head_units(data, **ask)


def test_a_free_text_is_a_part_of_its_report(data):
    heads = selip.head_units(data, wording="free", sequences=("T1",), n_train=5)
    reports = data.manifest.set_index("study_id")["report"]
    for study, i in zip(heads.table["study_id"], heads.table["text_id"], strict=True):
        assert heads.units.texts[i].strip()
        assert " ".join(heads.units.texts[i].split()) in " ".join(reports[study].split())


def test_fewer_training_studies_are_the_first_and_leave_the_other_splits_alone(heads, data):
    few = selip.head_units(data, sequences=("FLAIR", "DWI"), n_train=7).table
    whole = heads.table
    assert len(few[few["split"] == "train"]) == 7 * 2
    assert few["study_id"].tolist() == [s for s in whole["study_id"] if s in set(few["study_id"])]
    assert whole["study_id"].iloc[:14].tolist() == few["study_id"].iloc[:14].tolist()
    assert (few["split"] != "train").sum() == (whole["split"] != "train").sum()


def test_keys_are_equal_where_findings_are(made_up):
    for i in range(N):
        assert [a == made_up.keys[i] for a in made_up.keys] == [own == made_up.shown[i] for own in made_up.shown]
    assert len(set(made_up.keys)) < len(made_up.units.texts)  # some say the same in other words


def test_pairs_hold_the_similarity_of_the_recipes_ruler_by_embeddings_without_the_training_mean(made_up):
    pairs = selip.pairs(made_up, RECIPES["selip"])
    emb = made_up.features.numpy()
    train = sorted({made_up.table["text_id"][i] for i in made_up.rows("train")})
    wanted = text_similarity("selip", made_up.found, emb - emb[train].mean(0), fit_on=[made_up.found[i] for i in train])
    assert np.array_equal(pairs.similarity.numpy(), wanted)
    assert selip.pairs(made_up, RECIPES["clip"]).similarity is None


@pytest.mark.parametrize("n_units", [1, 64, 128, 100_000])
def test_a_part_of_the_cohort_trains_as_many_steps_as_all_of_it(n_units):
    preset, cohort = PRESETS["smoke"], 4 * 64  # sequences times training studies
    plan = selip.head_plan(preset, n_units, seed=3)
    assert plan.epochs == 1 or abs(plan.epochs * n_units - preset.head_epochs * cohort) <= n_units / 2
    assert plan.epochs > 1 or n_units > cohort
    assert (plan.batch_size, plan.seed, plan.learning_rate) == (HEAD_BATCH, 3, preset.learning_rate)


# retrieval


def signals(own: list) -> set:
    return {(place, "high" if "high" in signal else "low") for place, signal in own}


def slow_gain(a: list, b: list) -> float:
    if not a and not b:
        return 1.0
    return 2 * len(signals(a) & signals(b)) / (len(signals(a)) + len(signals(b)))


def test_gains_agree_with_a_loop_and_shapes_of_a_signal_do_not_count():
    a, b = some_findings(3, 20), some_findings(4, 30)
    assert np.allclose(selip_scores.gains(a, b), [[slow_gain(x, y) for y in b] for x in a])
    assert selip_scores.gains([[("pons", SIGNALS[0])]], [[("pons", SIGNALS[1])], [("pons", SIGNALS[2])], []]).tolist() == [
        [1, 0, 0]
    ]
    assert selip_scores.gains([[]], [[], [("pons", SIGNALS[0])]]).tolist() == [[1, 0]]


def slow_rank(sim: list, right: list) -> int:
    """Place of the first right item, behind wrong ones that are as similar."""
    order = sorted(range(len(sim)), key=lambda j: (-sim[j], right[j]))
    return 1 + next(place for place, j in enumerate(order) if right[j])


def slow_retrieval(heads, rows, emb, model) -> dict[str, list]:
    """Unit by unit: its image against each text of the split, its text against each image."""
    text_of = heads.table["text_id"].tolist()
    ids = sorted({text_of[i] for i in rows})
    with torch.inference_mode():
        texts = {i: model.encode_texts(heads.features[[i]])[0].numpy() for i in ids}
    ranked = {"image to text": [], "text to image": []}
    for k, i in enumerate(rows):
        if heads.shown[i]:
            ranked["image to text"].append([(emb[k] @ texts[t], heads.found[t], heads.shown[i]) for t in ids])
            ranked["text to image"].append(
                [(emb[m] @ texts[text_of[i]], heads.shown[j], heads.shown[i]) for m, j in enumerate(rows)]
            )
    found = {}
    for way, queries in ranked.items():
        ranks = [slow_rank([s for s, _, _ in q], [other == own for _, other, own in q]) for q in queries]
        found |= {f"{way}, R@{n}": [float(r <= n) for r in ranks] for n in (1, 10)}
        pairs = [(np.array([[s for s, _, _ in q]]), np.array([[slow_gain(other, own) for _, other, own in q]])) for q in queries]
        found[f"{way}, nDCG@10"] = [ndcg_at(sim, gain, 10)[0] for sim, gain in pairs]
    return found


@pytest.mark.parametrize("split", ["val", "test"])
def test_retrieval_agrees_with_a_slow_loop(made_up, model, split):
    rows = made_up.rows(split)
    emb = unit_vectors(len(rows), 8, seed=5)
    found, slow = selip_scores.retrieval(made_up, rows, emb, model), slow_retrieval(made_up, rows, emb, model)
    assert set(found) == set(slow) == WAYS
    for name, values in found.items():
        assert np.allclose(values, slow[name], atol=1e-5), name


def test_only_abnormal_units_ask(made_up, model):
    rows = made_up.rows("test")
    found = selip_scores.retrieval(made_up, rows, unit_vectors(len(rows), 8), model)
    n_sick = sum(bool(made_up.shown[i]) for i in rows)
    assert {len(values) for values in found.values()} == {n_sick}
    assert 0 < n_sick < len(rows)


def test_images_that_lie_on_their_texts_find_them_and_one_place_for_all_finds_nothing(made_up, model):
    rows = made_up.rows("test")
    with torch.inference_mode():
        emb = model.encode_texts(made_up.features[made_up.table["text_id"].to_numpy()[rows]]).numpy()
    assert selip_scores.retrieval(made_up, rows, emb, model)["image to text, R@1"].mean() == 1
    collapsed = selip_scores.retrieval(made_up, rows, np.zeros_like(emb), model)
    assert collapsed["text to image, R@1"].sum() == 0


def test_a_text_is_right_for_a_unit_that_shows_the_same_in_other_words(made_up, model):
    rows, ids = made_up.rows("test"), made_up.table["text_id"].to_numpy()
    other = {i: j for i in rows for j in rows if made_up.keys[i] == made_up.keys[j] and ids[i] != ids[j] and made_up.shown[i]}
    one = next(iter(other))
    with torch.inference_mode():
        emb = np.tile(model.encode_texts(made_up.features[[ids[other[one]]]]).numpy(), (len(rows), 1))
    asked = [i for i in rows if made_up.shown[i]]
    assert selip_scores.retrieval(made_up, rows, emb, model)["image to text, R@1"][asked.index(one)] == 1


# findings


@pytest.mark.parametrize("of", ["location", "kind", "state"])
def test_truth_is_what_enough_units_show(made_up, of):
    rows, truth = made_up.rows("test"), selip_scores.truth(made_up, made_up.rows("test"), of=of)
    has = {
        "location": lambda i: {place for place, _ in made_up.shown[i]},
        "kind": lambda i: made_up.kinds[i],
        "state": lambda i: {f"{place}, {tone} signal" for place, tone in signals(made_up.shown[i])},
    }[of]
    every = set().union(*(has(i) for i in rows))
    assert truth.names == tuple(sorted(n for n in every if sum(n in has(i) for i in rows) >= selip_scores.FEWEST))
    assert truth.names
    assert truth.labels.tolist() == [[n in has(i) for n in truth.names] for i in rows]
    assert truth.patients.tolist() == [f"p{i}" for i in rows]
    assert truth.asked.all()


@pytest.mark.parametrize("of", ["location", "kind"])
def test_a_probe_reads_what_features_hold_and_nothing_from_noise(made_up, of):
    truth = selip_scores.truth(made_up, made_up.rows("test"), of=of)
    noise = {s: np.random.default_rng(len(s)).normal(size=(n, 4)).astype(np.float32) for s, n in SPLITS.items()}
    told = {s: np.hstack([x, selip_scores.label_matrix(made_up, made_up.rows(s), truth.names, of=of)]) for s, x in noise.items()}
    told = {s: x.astype(np.float32) for s, x in told.items()}
    clear, blind = (selip_scores.probe_scores(made_up, features, of=of) for features in (told, noise))
    assert clear["val"].shape == (SPLITS["val"], len(selip_scores.truth(made_up, made_up.rows("val"), of=of).names))
    assert mean_auc("", truth, [clear["test"]], n_bootstrap=1).value > 0.95
    assert mean_auc("", truth, [blind["test"]], n_bootstrap=1).value < 0.8


def test_a_prompt_is_read_back_in_each_shape_of_its_signal():
    found = [parse(text, GRAMMARS["en"]) for text in selip_scores.prompts("left pons", "high signal")]
    assert found == [[("left pons", f"{shape} high signal")] for shape in selip_scores.SHAPES]


@pytest.mark.parametrize("signal", ["enlargement", "mass-like mixed signal"])
def test_a_signal_that_has_its_shape_already_has_one_prompt(signal):
    assert selip_scores.prompts("pons", signal) == [f"at pons shows {signal}"]


def test_zero_shot_agrees_with_a_loop_over_states(made_up, model):
    rows = made_up.rows("test")
    emb, states = unit_vectors(len(rows), 8, seed=6), selip_scores.truth(made_up, made_up.rows("test"), of="state").names
    found = selip_scores.zero_shot(model, made_up, rows, emb)
    with torch.inference_mode():
        healthy = model.encode_texts(embed_texts([selip.NOTHING]))[0].numpy()
        for k, state in enumerate(states):
            place, signal = state.split(", ")
            texts = [f"at {place} shows {shape} {signal}" for shape in ("punctate", "patchy", "large")]
            mean = model.encode_texts(embed_texts(texts)).numpy().mean(0)
            assert np.allclose(found[:, k], emb @ (mean / np.linalg.norm(mean)) - emb @ healthy, atol=1e-5)
    assert found.shape == (len(rows), len(states))


def test_where_no_state_is_seen_often_enough_nothing_is_asked(made_up, model):
    rows = made_up.rows("test")[: selip_scores.FEWEST - 1]
    assert selip_scores.zero_shot(model, made_up, rows, unit_vectors(len(rows), 8)).shape == (len(rows), 0)


# models


def test_embeddings_and_features_are_those_of_each_unit_alone(made_up, monkeypatch):
    monkeypatch.setattr(selip, "EMBEDDED_AT_A_TIME", 4)
    model, rows = selip.head_model(made_up, RECIPES["selip"], seed=0).eval(), np.array([7, 3, 80, 3, 11])
    emb, read = selip.embed(model, made_up, rows), selip.features(model, made_up, rows)
    with torch.inference_mode():
        for k, i in enumerate(rows):
            image = torch.from_numpy(made_up.units.images[[made_up.table["image"][i]]])
            assert np.allclose(emb[k], model.encode_images(image)[0], atol=1e-5)
            assert np.allclose(read[k], model.features(image)[0], atol=1e-4)


def test_a_head_model_takes_the_volume_at_once_and_keeps_what_is_where(made_up):
    model = selip.head_model(made_up, RECIPES["selip"], seed=0)
    assert (model.config.dims, model.config.map_pooling, model.config.channels) == (3, "grid", 1)


def test_every_slice_is_there_and_its_places_fill_the_field_of_view(made_up):
    mask, position_mm = selip.slice_places(made_up)
    assert mask.shape == position_mm.shape == made_up.units.images.shape[:1] + made_up.units.images.shape[2:3]
    assert mask.all()
    assert torch.allclose(position_mm.diff(dim=1), torch.tensor(FIELD_MM[0] / 4))
    assert (position_mm[:, 0] == 0).all()


def test_the_model_of_slices_embeds_volumes_and_sees_where_slices_lie(made_up):
    model, rows = selip.slice_model(made_up, RECIPES["selip"], seed=0).eval(), np.arange(3)
    mask, position_mm = selip.slice_places(made_up)
    emb = selip.embed(model, made_up, rows, beside=(mask, position_mm))
    assert np.allclose(np.linalg.norm(emb, axis=1), 1, atol=1e-5)
    assert not np.allclose(emb, selip.embed(model, made_up, rows, beside=(mask, 9 * position_mm)), atol=1e-4)


def test_places_go_with_the_image_of_a_unit_not_with_its_row(made_up):
    beside = (torch.arange(N),)
    rows = np.array([5, 40, 2])
    images = selip.pairs(made_up, RECIPES["clip"], beside=beside).batch(rows).images
    assert images[1].tolist() == made_up.table["image"][rows].tolist()
