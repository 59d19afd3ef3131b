"""The model folder: what is saved comes back, what does not fit is named."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from toy import toy_features, toy_units

from medclip_nb.config import RECIPES
from medclip_nb.data.preprocessing import picture_contract
from medclip_nb.learn import checkpoint
from medclip_nb.learn.checkpoint import from_pretrained, save_model
from medclip_nb.model.dual_encoder import build_model

CONTRACT = picture_contract(32, crop_bottom=0.06)
SEEN = np.arange(16.0).reshape(1, 1, 4, 4)


@pytest.fixture
def model():
    model = build_model(RECIPES["siglip"], image_tower="slice_cnn", channels=1, seed=0)
    model.centre_texts(toy_features(4))
    return model.eval()


@pytest.fixture
def folder(tmp_path, model):
    return save_model(model, tmp_path / "model", contract=CONTRACT, seen=SEEN, card="# A card")


def test_a_model_that_comes_back_gives_identical_embeddings(model, folder):
    again, contract, seen = from_pretrained(folder)
    images, features = torch.from_numpy(toy_units(5, splits=("train",)).images), toy_features(5)
    assert torch.equal(again.encode_images(images), model.encode_images(images))
    assert torch.equal(again(images, features), model(images, features))
    assert contract == CONTRACT
    assert np.array_equal(seen, SEEN)
    assert not again.training


def test_the_folder_holds_its_four_files_and_no_pickle(folder):
    assert sorted(f.name for f in folder.iterdir()) == ["MODEL_CARD.md", "config.json", "model.safetensors", "preprocessing.json"]
    assert (folder / "MODEL_CARD.md").read_text() == "# A card"
    assert "text_mean" in load_file(folder / "model.safetensors")


@pytest.mark.parametrize("name", ["config.json", "preprocessing.json", "model.safetensors"])
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    with pytest.raises(ValueError, match=f"is no model folder, {name} is missing"):
        from_pretrained(folder)


def test_weights_of_another_model_are_named(folder, tmp_path):
    other = build_model(RECIPES["clip"], image_tower="slice_cnn", channels=3, seed=0)
    foreign = save_model(other, tmp_path / "other", contract=CONTRACT, seen=SEEN, card="")
    (foreign / "model.safetensors").replace(folder / "model.safetensors")
    with pytest.raises(ValueError, match="model.safetensors does not fit config.json: .*tower.stem.0.weight"):
        from_pretrained(folder)


@pytest.mark.parametrize("change", [{"log_scale": None}, {"surplus": torch.zeros(2)}])
def test_a_weight_too_few_or_too_many_is_refused(folder, change):
    file = folder / "model.safetensors"
    weights = {k: v for k, v in (load_file(file) | change).items() if v is not None}
    save_file(weights, file)
    with pytest.raises(ValueError, match=next(iter(change))):
        from_pretrained(folder)


def test_keys_known_to_be_harmless_are_dropped(folder, model):
    file = folder / "model.safetensors"
    save_file(load_file(file) | {"text.embeddings.position_ids": torch.arange(3)}, file)
    assert torch.equal(from_pretrained(folder)[0].log_scale, model.log_scale)


def test_a_file_that_holds_no_weights_is_named(folder):
    (folder / "model.safetensors").write_bytes(b"no weights")
    with pytest.raises(ValueError, match="model.safetensors"):
        from_pretrained(folder)


def test_a_configuration_of_another_version_is_named(folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"novelty": 1}))
    with pytest.raises(ValueError, match="config.json"):
        from_pretrained(folder)


def test_saving_that_fails_leaves_the_old_weights(folder, model, monkeypatch):
    before = (folder / "model.safetensors").read_bytes()

    def save(_, path):
        path.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(checkpoint, "save_file", save)
    with pytest.raises(OSError, match="disk full"):
        save_model(model, folder, contract=CONTRACT, seen=SEEN, card="")
    assert (folder / "model.safetensors").read_bytes() == before
