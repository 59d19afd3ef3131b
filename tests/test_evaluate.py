"""Evaluation: any model on any data, each score against an independent one, the page with hostile texts. Weights are random."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import balanced_accuracy_score, confusion_matrix, roc_auc_score
from tiny import PATCHES, SMALL, WORDS, add_tokenizer, save, save_bert, save_clip
from toy import write_picture

from medclip_nb import cli
from medclip_nb.config import RECIPES
from medclip_nb.data.catalog import load
from medclip_nb.data.manifest import ManifestError
from medclip_nb.data.preprocessing import ct_contract, picture_contract
from medclip_nb.explore import evaluate, evaluate_data, evaluate_models, evaluate_page
from medclip_nb.explore import evaluate_scores as scores
from medclip_nb.learn.checkpoint import save_model
from medclip_nb.measure import ranking
from medclip_nb.model.dual_encoder import build_model

BAD = "<script>alert('x')</script>"
BLACK, WHITE, STRIPED = "black", "white", "striped"


def seen(contract, channels: int = 1) -> np.ndarray:
    return np.zeros((channels, min(4, contract.size[0]), 8, 8))


@pytest.fixture(scope="session")
def model(tmp_path_factory) -> str:
    """A slice encoder for pictures that has learnt nothing, as a model folder."""
    built = build_model(RECIPES["clip"], image_tower="slice_cnn", channels=1, seed=0)
    contract = picture_contract(16)
    folder = tmp_path_factory.mktemp("random") / "model"
    return str(save_model(built, folder, contract=contract, seen=seen(contract), card="# Random\n\nTrained on nothing.\n"))


def picture(kind: str, rng: np.random.Generator) -> np.ndarray:
    """A bright square whose place is the class's: noise does not hide it."""
    image = rng.integers(0, 60, (20, 20)).astype(np.uint8)
    rows, columns = {
        BLACK: (slice(0, 8), slice(0, 8)),
        WHITE: (slice(12, 20), slice(12, 20)),
        STRIPED: (slice(0, 20, 2), slice(0, 20)),
    }[kind]
    image[rows, columns] = 255
    return image


@pytest.fixture(scope="session")
def folders(tmp_path_factory) -> Path:
    """Three trivially different classes of twenty pictures, a folder each."""
    root, rng = tmp_path_factory.mktemp("classes"), np.random.default_rng(0)
    for kind in (BLACK, WHITE, STRIPED):
        (root / kind).mkdir()
        for i in range(20):
            write_picture(root / kind / f"{i}.png", picture(kind, rng))
    return root


@pytest.fixture(scope="session")
def found(model, folders, home) -> evaluate.Evaluation:
    return evaluate.run(model, str(folders), preset="smoke")


def score(found: evaluate.Evaluation, way: str, measure: str = scores.BALANCED):
    (one,) = [row.score for row in found.rows if (row.way, row.score.name) == (way, measure)]
    return one


def test_a_probe_tells_classes_apart_that_random_words_do_not(found):
    assert score(found, "linear probe").value > 0.9
    words = score(found, "zero-shot")
    assert (words.chance, words.n, words.unit) == (1 / 3, 60, "images")
    assert words.value < 0.8


def test_one_class_for_all_is_chance_and_its_interval_holds_it():
    asked = scores.Asked(np.repeat([0, 1, 2], 20), np.arange(60).astype(str), 200)
    for row in scores.class_rows("collapsed", np.zeros((60, 3)), asked):
        assert row.score.value == pytest.approx(row.score.chance)
        assert row.score.low <= row.score.chance <= row.score.high


def test_scores_are_those_of_scikit_learn():
    rng = np.random.default_rng(1)
    truth, said = rng.integers(0, 4, 90), rng.integers(0, 9, (90, 4)).astype(float)  # ties
    rows = scores.class_rows("x", said, scores.Asked(truth, rng.integers(0, 30, 90).astype(str), 100))
    value = {row.score.name: row.score.value for row in rows}
    called = said.argmax(1)
    assert value[scores.ACCURACY] == pytest.approx((called == truth).mean())
    assert value[scores.BALANCED] == pytest.approx(balanced_accuracy_score(truth, called))
    each = [roc_auc_score(truth == k, said[:, k]) for k in range(4)]
    assert value[scores.AUC] == pytest.approx(np.mean(each))
    assert all(row.score.low < row.score.value < row.score.high for row in rows)


def test_a_resample_is_the_score_of_its_patients_items():
    rng = np.random.default_rng(2)
    truth, said, whose = rng.integers(0, 3, 40), rng.random((40, 3)), rng.integers(0, 12, 40)
    rows = scores.class_rows("x", said, scores.Asked(truth, whose, 5))
    drawn = np.random.default_rng(0).integers(0, len(np.unique(whose)), (5, len(np.unique(whose))))
    for k in range(5):
        items = np.concatenate([np.flatnonzero(whose == np.unique(whose)[p]) for p in drawn[k]])
        recalls = [(said[items][truth[items] == c].argmax(1) == c).mean() for c in np.unique(truth[items])]
        assert rows[1].values[k] == pytest.approx(np.mean(recalls))


def test_a_class_that_no_scored_item_has_is_left_out():
    said = np.eye(3)[[0, 0, 1, 1]]
    rows = scores.class_rows("x", said, scores.Asked(np.array([0, 0, 1, 1]), np.arange(4).astype(str), 50))
    assert [(row.score.value, row.score.chance) for row in rows] == [(1, 0.5), (1, 0.5), (1, 0.5)]
    assert all(0 < row.score.low < 1 == row.score.high for row in rows)


def test_a_nan_is_refused():
    with pytest.raises(ValueError, match="1 of 4 scores are NaN"):
        scores.class_rows(
            "x", np.array([[np.nan, 0.0], [0, 1], [1, 0], [0, 1]]), scores.Asked(np.array([0, 1, 0, 1]), np.arange(4), 9)
        )


def test_folds_never_share_a_patient_and_test_each_item_once():
    rng = np.random.default_rng(0)
    truth, whose = rng.integers(0, 3, 80), rng.integers(0, 25, 80)
    folds = scores.folds_of(truth, whose, None)
    assert sorted(np.concatenate([fold["test"] for fold in folds])) == list(range(80))
    for fold in folds:
        people = [set(whose[fold[split]]) for split in ("train", "val", "test")]
        assert not people[0] & people[1]
        assert not people[1] & people[2]
        assert not people[0] & people[2]
        assert sorted(np.concatenate(list(fold.values()))) == list(range(80))


def test_a_given_split_without_validation_takes_some_training_patients_for_it():
    given, whose = np.array(["train"] * 30 + ["test"] * 10), np.arange(40) // 2
    (fold,) = scores.folds_of(np.arange(40) % 2, whose, given)
    assert list(fold["test"]) == list(range(30, 40))
    assert len(fold["val"])
    assert not set(whose[fold["val"]]) & set(whose[fold["train"]])


def test_two_patients_are_too_few_to_learn_from():
    with pytest.raises(ValueError, match="2 folds of patients"):
        scores.folds_of(np.arange(10) % 2, np.arange(10) // 5, None)


def test_retrieval_counts_the_same_words_elsewhere_as_right():
    rng = np.random.default_rng(3)
    images, texts, ids = rng.normal(size=(12, 4)), rng.normal(size=(6, 4)), np.arange(12) // 2
    rows = scores.retrieval_rows(images, texts[ids], ranking.by_label(ids, ids), scores.Asked(ids, np.arange(12), 20))
    sim = images @ texts[ids].T
    ranks = [1 + sum(sim[i, j] >= sim[i, 2 * ids[i]] for j in range(12) if ids[j] != ids[i]) for i in range(12)]
    assert rows[0].score.value == pytest.approx(np.mean(np.array(ranks) <= 1))
    assert rows[3].score.value == pytest.approx(np.mean(1 / np.array(ranks)))
    assert rows[0].score.chance == pytest.approx(2 / 12)


def test_the_confusion_matrix_is_scikit_learns(found, model):
    judged, names = found.judged, list(found.prompts)
    emb = evaluate_models.embed_kept(judged, found.items.keys, found.items.read)["embedding"]
    words = evaluate._class_vectors(judged, found.prompts)
    truth, called = found.items.table["label"].map(names.index), (emb @ words.T).argmax(1)
    assert np.array_equal(found.confusion, confusion_matrix(truth, called))


def test_embeddings_are_those_of_the_model_and_are_read_once(found, monkeypatch):
    items = found.items
    kept = evaluate_models.embed_kept(found.judged, items.keys, items.read)
    with torch.inference_mode():
        images = torch.from_numpy(items.read(slice(0, 60)))
        assert np.allclose(kept["embedding"], found.judged.model.encode_images(images).numpy(), atol=1e-5)
        assert np.allclose(kept["features"], found.judged.model.features(images).numpy(), atol=1e-5)
    refuse = lambda rows: pytest.fail("read again")  # noqa: E731
    assert np.array_equal(evaluate_models.embed_kept(found.judged, items.keys, refuse)["before"], kept["before"])


def test_an_interrupted_embedding_goes_on_where_it_was(found, monkeypatch):
    monkeypatch.setattr(evaluate_models, "PART", 20)
    asked = []

    def read(rows: slice) -> np.ndarray:
        asked.append(rows.start)
        if len(asked) == 3:
            raise KeyboardInterrupt
        return found.items.read(rows)

    with pytest.raises(KeyboardInterrupt):
        evaluate_models.embed_kept(found.judged, found.items.keys, read)
    evaluate_models.embed_kept(found.judged, found.items.keys, read)
    assert asked == [0, 20, 40, 40]


def write_table(root: Path, **columns) -> Path:
    rng, n = np.random.default_rng(0), 24
    root.mkdir(exist_ok=True)
    for i in range(n):
        write_picture(root / f"{i}.png", picture((BLACK, WHITE, STRIPED)[i % 3], rng))
    table = {"image": [f"{i}.png" for i in range(n)], "patient_id": [f"p{i // 2}" for i in range(n)]} | columns
    pd.DataFrame(table).to_csv(root / "table.csv", index=False)
    return root


def test_captions_and_labels_of_a_table_are_both_scored_and_nothing_in_them_runs(model, tmp_path):
    texts = [f"{BAD} caption {i // 2}" for i in range(24)]
    root = write_table(tmp_path / "mine", text=texts, finding=[(BLACK, WHITE, f"{BAD}{STRIPED}")[i % 3] for i in range(24)])
    found = evaluate.run(model, str(root), preset="smoke")
    page = evaluate_page.page(found)
    assert {row.way for row in found.rows} >= {"zero-shot", "linear probe", *(f"retrieval, {way}" for way in ranking.WAYS)}
    assert {row.score.unit for row in found.rows} == {"patients"}
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert re.findall(r"""(?:src|href)=["'](?!data:image/png|#)""", page) == []


def test_only_the_test_split_is_scored_where_one_is_given(model, tmp_path):
    split = ["train"] * 12 + ["val"] * 6 + ["test"] * 6
    root = write_table(tmp_path / "mine", text=[f"caption {i}" for i in range(24)], label=[BLACK, WHITE] * 12, split=split)
    found = evaluate.run(model, str(root), preset="smoke")
    assert {row.score.n for row in found.rows} == {3}
    assert found.confusion.to_numpy().sum() == 6


def test_the_command_writes_a_page_and_metrics(model, folders, tmp_path, capsys):
    assert cli.main(["evaluate", model, str(folders), "--limit", "5", "--preset", "smoke", "-o", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    record = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert said.endswith(f"{tmp_path / 'out' / 'index.html'}\n")
    assert "zero-shot" in said
    assert {figure["n"] for figure in record["figures"]} == {15}
    assert all(figure["chance"] is not None for figure in record["figures"])


@pytest.mark.parametrize("suffix", ["json", "csv"])
def test_prompts_of_a_file_are_asked(suffix, tmp_path):
    file = tmp_path / f"words.{suffix}"
    pd.DataFrame({"class": ["a", "a", "b"], "prompt": ["one", "two", "three"]}).to_csv(file, index=False)
    if suffix == "json":
        file.write_text(json.dumps({"a": ["one", "two"], "b": "three", "unused": "four"}))
    assert evaluate_data.class_prompts(["a", "b"], "label", file) == {"a": ["one", "two"], "b": ["three"]}


def test_nonsense_says_something_else_of_each_class():
    prompts = evaluate_data.class_prompts([f"class {i}" for i in range(40)], "label")
    nonsense = evaluate_data.nonsense_prompts(prompts, seed=0)
    assert {name: len(own) for name, own in nonsense.items()} == {name: len(own) for name, own in prompts.items()}
    assert len({text for own in nonsense.values() for text in own}) == sum(map(len, nonsense.values()))


def complaint(capsys, *arguments: str) -> str:
    """The one line that a wrong command prints."""
    assert cli.main(["evaluate", *arguments, "--preset", "smoke"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("medclip-nb: error: ")
    assert error.count("\n") == 1
    return error


def test_what_is_wrong_is_said_in_one_line(model, folders, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    (tmp_path / "words.json").write_text(json.dumps({BLACK: "x"}))
    same = write_table(tmp_path / "same", text=["the same"] * 24)
    assert "no such folder, and no model of that name in the local" in complaint(capsys, "nowhere/model", str(folders))
    assert "is no model folder, config.json is missing" in complaint(capsys, str(tmp_path / "empty"), str(folders))
    assert "has no prompt for class 'striped'" in complaint(
        capsys, model, str(folders), "--prompts", str(tmp_path / "words.json")
    )
    assert "no labels and no captions that differ" in complaint(capsys, model, str(same))
    assert "column 'sex' holds no classes" in complaint(capsys, model, str(folders), "--classes", "sex")
    assert "one folder per class" in complaint(capsys, model, str(tmp_path / "empty"))


def test_one_class_without_captions_is_refused_by_its_name(model, tmp_path, capsys):
    root = write_table(tmp_path / "one", label=["cyst"] * 24)
    assert "one class ('cyst') and no captions that differ" in complaint(capsys, model, str(root))


def test_an_unreadable_image_is_named(model, folders, tmp_path, capsys):
    root = Path(shutil.copytree(folders, tmp_path / "copy"))
    (root / WHITE / "7.png").write_bytes(b"no picture")
    assert f"{WHITE}/7.png: cannot be read as a picture" in complaint(capsys, model, str(root))


def test_a_model_of_ct_windows_reads_pictures_with_a_warning(folders, tmp_path):
    contract = ct_contract((8, 16, 16), field_mm=(300.0, 400.0, 400.0))
    built = build_model(RECIPES["clip"], image_tower="slice_cnn", channels=3, seed=0)
    folder = save_model(built, tmp_path / "model", contract=contract, seen=seen(contract, 3), card="")
    found = evaluate.run(str(folder), str(folders), preset="smoke")
    assert any("unknown window" in warning for warning in found.warnings)
    assert found.items.read(slice(0, 2)).shape == (2, 3, 1, 16, 16)


def test_slices_of_the_synthetic_ct_may_own_two_captions(torso, tmp_path):
    built = build_model(RECIPES["radclip"], image_tower="slice_cnn", channels=3, seed=0)
    folder = save_model(built, tmp_path / "model", contract=torso.contract, seen=seen(torso.contract, 3), card="")
    judged = evaluate_models.load_judged(str(folder))
    items = evaluate_data.load_items(torso, judged, limit=20)
    assert items.column == "body_part"
    assert len(items.classes) > 1
    assert len(items.right) > len(items.table)
    own = np.arange(len(items.table)) * len(items.texts) + items.table["text_id"]
    assert np.isin(own, items.right).all()


def test_pictures_are_refused_by_a_model_of_volumes_and_volumes_by_one_of_pictures(model, folders, torso, tmp_path, capsys):
    contract = ct_contract((8, 16, 16), field_mm=(300.0, 400.0, 400.0))
    built = build_model(RECIPES["clip"], image_tower="patch_cnn", channels=3, seed=0, dims=3)
    folder = save_model(built, tmp_path / "model", contract=contract, seen=seen(contract, 3), card="")
    assert "reads volumes" in complaint(capsys, str(folder), str(folders))
    assert "reads pictures, torso holds volumes" in complaint(capsys, model, "torso")


def test_training_images_among_the_data_are_counted(folders, tmp_path):
    from medclip_nb.files import sha256

    hashes = [sha256(folders / BLACK / f"{i}.png") for i in range(7)]
    built, contract = build_model(RECIPES["clip"], image_tower="slice_cnn", channels=1, seed=0), picture_contract(16)
    folder = save_model(built, tmp_path / "model", contract=contract, seen=seen(contract), card="", training=hashes)
    found = evaluate.run(str(folder), str(folders), preset="smoke", limit=20)
    assert any(warning.startswith("7 of 60 images are training images") for warning in found.warnings)


def save_siglip(folder: Path) -> Path:
    """A SigLIP with both its parts and a tokenizer."""
    from transformers import SiglipConfig, SiglipModel

    torch.manual_seed(0)
    text = SMALL | {"vocab_size": len(WORDS), "max_position_embeddings": 12, "projection_size": 32}
    save(SiglipModel(SiglipConfig(text_config=text, vision_config=SMALL | PATCHES)), folder)
    return add_tokenizer(folder)


def add_pixels(folder: Path, kind: str) -> Path:
    """The file that says how pictures come to a checkpoint."""
    import transformers

    size = {"height": 32, "width": 32} if kind == "Siglip" else {"shortest_edge": 32}
    more = {} if kind == "Siglip" else {"crop_size": {"height": 32, "width": 32}}
    getattr(transformers, f"{kind}ImageProcessorPil")(size=size, **more).save_pretrained(folder)
    return folder


CHECKPOINTS = {"CLIP": save_clip, "Siglip": save_siglip}


@pytest.mark.parametrize("kind", CHECKPOINTS)
def test_a_checkpoint_is_evaluated_like_our_own_models(kind, folders, tmp_path):
    folder = add_pixels(CHECKPOINTS[kind](tmp_path / kind.lower()), kind)
    found = evaluate.run(str(folder), str(folders), preset="smoke", limit=8)
    assert found.judged.kind == f"{'CLIP' if kind == 'CLIP' else 'Siglip'}Model checkpoint"
    assert {"zero-shot", "linear probe", "linear probe, before pretraining"} <= {row.way for row in found.rows}
    assert 0 <= score(found, "zero-shot").low <= score(found, "zero-shot").high <= 1


@pytest.mark.parametrize("kind", CHECKPOINTS)
def test_a_checkpoint_embeds_as_its_own_files_say(kind, folders, tmp_path):
    from PIL import Image
    from transformers import AutoImageProcessor, AutoModel

    folder = add_pixels(CHECKPOINTS[kind](tmp_path / kind.lower()), kind)
    judged = evaluate_models.load_judged(str(folder))
    items = evaluate_data.load_items(load(str(folders), evaluate.config.PRESETS["smoke"]), judged)
    ours = judged.images(items.read(slice(0, 3)))[:, judged.width :]
    pictures = [Image.open(folders / name).convert("RGB").resize((32, 32), Image.BICUBIC) for name in items.table["image"][:3]]
    pixels = AutoImageProcessor.from_pretrained(folder, backend="pil")(images=pictures, return_tensors="pt")
    theirs = AutoModel.from_pretrained(folder).eval().get_image_features(**pixels).pooler_output.detach().numpy()
    assert np.allclose(ours, theirs, atol=1e-5)
    assert np.allclose(np.linalg.norm(judged.texts(["chest ct", "a nodule"]), axis=1), 1, atol=1e-5)


def test_colours_reach_a_checkpoint(tmp_path):
    from PIL import Image

    folder = add_pixels(save_clip(tmp_path / "clip"), "CLIP")
    for name, colour in (("red", (255, 0, 0)), ("blue", (0, 0, 255))):
        (tmp_path / "data" / name).mkdir(parents=True)
        Image.new("RGB", (30, 20), colour).save(tmp_path / "data" / name / "0.png")
    items = evaluate_data.load_items(
        load(str(tmp_path / "data"), evaluate.config.PRESETS["smoke"]), evaluate_models.load_judged(str(folder))
    )
    middle = items.read(slice(0, 2))[:, :, 0, 16, 16]
    assert middle.tolist() == [[0, 0, 255], [255, 0, 0]]


def test_weights_that_could_run_code_and_models_without_texts_are_refused(folders, tmp_path, capsys):
    folder = save_clip(tmp_path / "clip")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    assert "holds no *.safetensors" in complaint(capsys, str(folder), str(folders))
    assert "no image or no text side" in complaint(capsys, str(save_bert(tmp_path / "bert")), str(folders))
    bare = save_clip(tmp_path / "bare")
    assert "cannot be read as a checkpoint" in complaint(capsys, str(bare), str(folders))


def test_folders_of_splits_above_the_classes_are_a_given_split(folders, tmp_path):
    for split in ("train", "valid", "test"):
        shutil.copytree(folders, tmp_path / split)
    table = load(str(tmp_path), evaluate.config.PRESETS["smoke"]).manifest
    assert table.groupby("split")["label"].nunique().to_dict() == {"train": 3, "val": 3, "test": 3}
    assert "split_drawn" not in table.attrs


def test_a_table_with_neither_text_nor_label_says_what_is_missing(tmp_path):
    root = write_table(tmp_path / "mine")
    with pytest.raises(ManifestError, match=r"column 'text' is missing \(or 'label'\)"):
        load(str(root), evaluate.config.PRESETS["smoke"])


def test_an_organ_encoder_without_masks_says_why_not(torso, tmp_path, monkeypatch):
    from medclip_nb.model.organ_encoder import build_organ_encoder

    built = build_organ_encoder(RECIPES["ct_glip"], ("liver", "spleen"), channels=3, seed=0)
    folder = save_model(built, tmp_path / "model", contract=torso.contract, seen=seen(torso.contract, 3), card="")
    bare = torso.manifest.assign(mask="")
    bare.attrs.update(torso.manifest.attrs)
    data = evaluate.replace(torso, manifest=bare)
    monkeypatch.setattr(evaluate.catalog, "load", lambda *a, **k: data)
    with pytest.raises(ValueError, match="has no masks: column 'mask' is empty"):
        evaluate.run(str(folder), "torso", preset="smoke")


def test_organs_of_the_synthetic_ct_are_scored_by_an_organ_encoder(torso, tmp_path):
    from medclip_nb.data.phantoms import ORGAN_GROUPS
    from medclip_nb.model.organ_encoder import build_organ_encoder

    built = build_organ_encoder(RECIPES["ct_glip"], tuple(ORGAN_GROUPS), channels=3, seed=0)
    folder = save_model(built, tmp_path / "model", contract=torso.contract, seen=seen(torso.contract, 3), card="")
    found = evaluate.run(str(folder), "torso", preset="smoke", limit=16)
    named = score(found, "organs", "organs named rightly")
    assert 10 < named.n <= 16  # some patients have two studies
    assert named.chance == pytest.approx(1 / len(ORGAN_GROUPS))
    assert "synthetic" in evaluate_page.page(found)


def test_a_volume_adapter_finds_reports_and_one_without_slices_is_refused(torso, encoder, tmp_path):
    from medclip_nb.model.adapter import build_adapter, with_encoder

    adapter, about = (
        build_adapter("mean", encoder, seed=0),
        {"contract": torso.contract, "seen": seen(torso.contract, 3), "card": ""},
    )
    folder = save_model(with_encoder(adapter, encoder), tmp_path / "model", **about)
    found = evaluate.run(str(folder), "torso", preset="smoke", limit=12)
    assert 8 < score(found, "retrieval, image to text", "MRR").n <= 12  # some patients have two studies
    with pytest.raises(ValueError, match="without its slice encoder inside"):
        evaluate_models.load_judged(str(save_model(adapter, tmp_path / "bare", **about)))
