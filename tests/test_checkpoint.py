"""The model folder: what is saved comes back, what does not fit is named."""

import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny import save_vision
from toy import toy_features, toy_units

from medclip_nb.config import RECIPES
from medclip_nb.data.preprocessing import picture_contract
from medclip_nb.learn import checkpoint
from medclip_nb.learn.checkpoint import from_pretrained, save_model
from medclip_nb.model.adapter import build_adapter
from medclip_nb.model.dual_encoder import DualEncoder, build_model
from medclip_nb.model.finetune import add_lora

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
    assert torch.equal(again((images,), features), model((images,), features))
    assert contract == CONTRACT
    assert np.array_equal(seen, SEEN)
    assert not again.training


@pytest.mark.parametrize("dims", [2, 3])
def test_a_model_that_keeps_what_is_where_comes_back(tmp_path, dims):
    model = build_model(RECIPES["selip"], image_tower="patch_cnn", channels=1, seed=0, dims=dims, map_pooling="grid").eval()
    again, _, _ = from_pretrained(save_model(model, tmp_path / "model", contract=CONTRACT, seen=SEEN, card=""))
    pixels = torch.randint(0, 255, (2, 1, 8, 32, 32), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    assert again.config == model.config
    assert torch.equal(again.encode_images(pixels), model.encode_images(pixels))


def test_a_folder_from_before_maps_had_a_choice_of_pooling_still_loads(model, folder):
    config = json.loads((folder / "config.json").read_text())
    assert config.pop("map_pooling") == "mean_max"
    (folder / "config.json").write_text(json.dumps(config))
    again, images = from_pretrained(folder)[0], torch.from_numpy(toy_units(5, splits=("train",)).images)
    assert torch.equal(again.encode_images(images), model.encode_images(images))


@pytest.mark.parametrize("end_to_end", [False, True])
def test_an_adapter_comes_back_with_the_encoder_inside_if_it_had_one(model, tmp_path, end_to_end):
    adapter = build_adapter("attention_4", model, seed=1, end_to_end=end_to_end).eval()
    again, _, _ = from_pretrained(save_model(adapter, tmp_path / "adapter", contract=CONTRACT, seen=SEEN, card=""))
    state = again.state_dict()
    assert type(again) is type(adapter)
    assert again.config == adapter.config
    assert (again.encoder is not None) == end_to_end
    assert list(state) == list(adapter.state_dict())
    assert all(torch.equal(state[k], v) for k, v in adapter.state_dict().items())


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

    def save(_, path, **about):
        path.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(checkpoint, "save_file", save)
    with pytest.raises(OSError, match="disk full"):
        save_model(model, folder, contract=CONTRACT, seen=SEEN, card="")
    assert (folder / "model.safetensors").read_bytes() == before


def stacks_of_pixels(channels: int) -> tuple[torch.Tensor, ...]:
    """Two volumes of three slices, the last of which is padding in one of them."""
    pixels = torch.randint(0, 255, (2, channels, 3, 32, 32), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    return pixels, torch.tensor([[True, True, True], [True, True, False]]), torch.tensor([[0.0, 5, 10]] * 2)


def saved(model, folder):
    return save_model(model, folder, contract=CONTRACT, seen=SEEN, card="")


def test_an_adapter_with_its_encoder_gives_the_same_from_pixels_after_loading(model, tmp_path):
    adapter = build_adapter("self_attention", model, seed=1, end_to_end=True).eval()
    again, _, _ = from_pretrained(saved(adapter, tmp_path / "adapter"))
    assert torch.equal(again(stacks_of_pixels(1), toy_features(5)), adapter(stacks_of_pixels(1), toy_features(5)))


def with_lora(model: DualEncoder) -> DualEncoder:
    """As if trained: updates that are not zero."""
    add_lora(model.tower, rank=2)
    with torch.no_grad():
        for name, weight in model.tower.named_parameters():
            if "lora_" in name:
                weight.normal_(std=0.2, generator=torch.Generator().manual_seed(len(name)))
    return model


@pytest.mark.parametrize("inside", [False, True])
def test_a_model_with_lora_is_saved_as_one_that_never_had_any(model, tmp_path, inside):
    trained = build_adapter("mean", model, seed=0, end_to_end=True).eval() if inside else model
    names = sorted(trained.state_dict())
    with_lora(trained.encoder if inside else trained)
    images = stacks_of_pixels(1) if inside else stacks_of_pixels(1)[:1]
    expected, adapted = trained(images, toy_features(5)), sorted(trained.state_dict())
    again, _, _ = from_pretrained(saved(trained, tmp_path / "lora"))
    assert sorted(load_file(tmp_path / "lora" / "model.safetensors")) == names
    assert torch.allclose(again(images, toy_features(5)), expected, atol=1e-4)
    assert sorted(trained.state_dict()) == adapted != names  # the one that trains on is left as it was


def test_lora_does_change_what_is_saved(model, tmp_path):
    images, features = stacks_of_pixels(1)[:1], toy_features(5)
    before = model(images, features)
    assert (from_pretrained(saved(with_lora(model), tmp_path / "lora"))[0](images, features) - before).abs().max() > 0.01


def from_checkpoint(folder) -> DualEncoder:
    """A model on a tiny vision transformer whose pixels are scaled in its own way."""
    save_vision("ViT", folder)
    (folder / "preprocessor_config.json").write_text(json.dumps({"image_mean": [0.4, 0.5, 0.6], "image_std": [0.2, 0.2, 0.2]}))
    return build_model(RECIPES["clip"], image_tower=str(folder), channels=3, seed=0).eval()


@pytest.mark.parametrize("inside", [False, True])
def test_a_model_outlives_the_checkpoint_that_its_tower_came_from(tmp_path, inside):
    model = from_checkpoint(tmp_path / "vit")
    model = build_adapter("attention", model, seed=0, end_to_end=True).eval() if inside else model
    images = stacks_of_pixels(3) if inside else stacks_of_pixels(3)[:1]
    expected = model(images, toy_features(5))
    saved(model, tmp_path / "first")
    shutil.rmtree(tmp_path / "vit")
    saved(from_pretrained(tmp_path / "first")[0], tmp_path / "second")
    shutil.rmtree(tmp_path / "first")
    (tmp_path / "second").rename(tmp_path / "moved")
    again, _, _ = from_pretrained(tmp_path / "moved")
    assert torch.equal(again(images, toy_features(5)), expected)


def test_saving_over_the_folder_that_the_tower_was_read_from_keeps_it(tmp_path):
    model = from_checkpoint(tmp_path / "vit")
    saved(model, tmp_path / "model")
    again, _, _ = from_pretrained(saved(from_pretrained(tmp_path / "model")[0], tmp_path / "model"))
    assert torch.equal(again(stacks_of_pixels(3)[:1], toy_features(5)), model(stacks_of_pixels(3)[:1], toy_features(5)))


@pytest.mark.parametrize("end_to_end", [False, True])
def test_a_configuration_that_lies_where_we_work_is_not_taken_for_a_towers(model, tmp_path, monkeypatch, end_to_end):
    (tmp_path / "config.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    saved(build_adapter("mean", model, seed=0, end_to_end=end_to_end), tmp_path / "adapter")
    assert not (tmp_path / "adapter" / checkpoint.TOWER).exists()
