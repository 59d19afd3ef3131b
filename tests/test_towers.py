"""Towers from MONAI and from folders with Hugging Face checkpoints."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny import save_bert, save_clip, save_vision

from medclip_nb.model.checkpoints import load_part
from medclip_nb.model.encoders import TOWERS, VOLUME_TOWERS, image_tower
from medclip_nb.model.monai_towers import VIT_GRID, VIT_PATCH

MONAI = tuple(name for name in VOLUME_TOWERS if not name.endswith("_cnn"))

PREFIX = {"ViT": 1, "CLIP": 1, "Siglip": 0, "Dinov2WithRegisters": 5}  # tokens that belong to no patch


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, Path]:
    """A checkpoint of every kind."""
    top = tmp_path_factory.mktemp("checkpoints")
    vision = {"Siglip": "SiglipVision"}
    made = {k: save_vision(vision.get(k, k), top / k) for k in ("ViT", "Siglip", "Dinov2WithRegisters", "ConvNext", "ResNet")}
    return made | {"CLIP": save_clip(top / "CLIP"), "BERT": save_bert(top / "BERT")}


def noise(*shape: int) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0)) * 2 - 1


def brightest_change(tower, *, space: tuple[int, ...], cell: tuple[int, ...], patch: int) -> tuple[int, ...]:
    """The cell of the map that moves most when one patch of a dark image is lit."""
    dark = torch.full((1, 3, *space), -1.0)
    lit = dark.clone()
    lit[(slice(None), slice(None), *(slice(i * patch, (i + 1) * patch) for i in cell))] = 1
    with torch.inference_mode():
        change = (tower(lit) - tower(dark))[0].norm(dim=0)
    return tuple(int(i) for i in np.unravel_index(change.argmax().item(), change.shape))


@pytest.mark.parametrize("name", MONAI)
@pytest.mark.parametrize("space", [(64, 96), (32, 64, 96)])
def test_a_monai_tower_maps_slices_and_volumes_to_a_grid_of_its_dimension(name, space):
    tower = image_tower(name, channels=2, dims=len(space)).eval()
    side = VIT_PATCH if name.startswith("vit") else 32
    cell = (side // 2 if name == "vit_tiny" else side, side, side)[3 - len(space) :]
    with torch.inference_mode():
        assert tower(noise(2, 2, *space)).shape == (2, tower.dim, *(n // k for n, k in zip(space, cell, strict=True)))
    assert tower.dims == len(space)


@pytest.mark.parametrize("dims", [2, 3])
def test_pooling_the_map_of_a_monai_net_gives_what_the_net_gives(dims):
    from monai.networks import nets

    x, axes = noise(2, 1, *(64,) * dims), tuple(range(2, dims + 2))
    torch.manual_seed(0)
    resnet = nets.resnet10(spatial_dims=dims, n_input_channels=1, conv1_t_stride=2, feed_forward=False).eval()
    densenet = nets.DenseNet121(spatial_dims=dims, in_channels=1, out_channels=1).eval()
    torch.manual_seed(0)
    ours = [image_tower(name, channels=1, dims=dims).eval() for name in ("resnet10", "densenet121")]
    with torch.inference_mode():
        maps = [tower(x).mean(axes) for tower in ours]
        assert torch.allclose(maps[0], resnet(x), atol=1e-5)
        assert torch.allclose(densenet.class_layers.out(maps[1]), densenet(x), atol=1e-5)


@pytest.mark.parametrize("dims", [2, 3])
def test_at_its_own_size_the_vit_is_monais(dims, monkeypatch):
    from monai.networks import nets

    made = []
    monkeypatch.setattr(nets, "ViT", lambda *args, cls=nets.ViT, **kwargs: made.append(cls(*args, **kwargs)) or made[0])
    tower, x = image_tower("vit", channels=1, dims=dims).eval(), noise(1, 1, *(VIT_PATCH * VIT_GRID,) * dims)
    with torch.inference_mode():
        assert torch.allclose(tower(x).flatten(2).transpose(1, 2), made[0].eval()(x)[0], atol=1e-5)


@pytest.mark.parametrize("name", MONAI)
def test_every_weight_of_a_monai_tower_is_used(name):
    tower = image_tower(name, channels=1)
    tower(noise(2, 1, 64, 64)).square().mean().backward()
    assert [key for key, p in tower.named_parameters() if p.grad is None] == []


@pytest.mark.parametrize(
    ("space", "cell"), [((64, 64), (0, 7)), ((48, 80), (5, 0)), ((16, 32, 40), (1, 0, 4)), ((64, 64, 64), (0, 7, 7))]
)
def test_a_lit_patch_moves_its_own_cell_of_the_vit_most(space, cell):
    torch.manual_seed(0)
    tower = image_tower("vit", channels=3, dims=len(space)).eval()
    assert brightest_change(tower, space=space, cell=cell, patch=VIT_PATCH) == cell


@pytest.mark.parametrize("kind", PREFIX)
@pytest.mark.parametrize(("space", "cell"), [((32, 32), (0, 3)), ((48, 24), (5, 0)), ((64, 64), (7, 7))])
def test_a_lit_patch_moves_its_own_cell_of_a_checkpoint_most(folders, kind, space, cell):
    tower = image_tower(folders[kind], channels=3).eval()
    assert tower(noise(2, 3, *space)).shape == (2, 32, space[0] // 8, space[1] // 8)
    assert brightest_change(tower, space=space, cell=cell, patch=8) == cell


@pytest.mark.parametrize("kind", PREFIX)
def test_the_map_holds_the_patch_tokens_row_by_row_and_no_other(folders, kind):
    tower = image_tower(str(folders[kind]), channels=3).eval()
    with torch.inference_mode():
        tokens, found = tower.model(noise(1, 3, 32, 32)).last_hidden_state, tower(noise(1, 3, 32, 32))
    assert tokens.shape[1] == PREFIX[kind] + found[0, 0].numel()
    for row, column in np.ndindex(4, 4):
        assert torch.allclose(found[:, :, row, column], tokens[:, PREFIX[kind] + 4 * row + column], atol=1e-5)


@pytest.mark.parametrize("kind", ["ConvNext", "ResNet"])
def test_a_checkpoint_that_gives_a_map_keeps_it(folders, kind):
    tower = image_tower(folders[kind], channels=3).eval()
    with torch.inference_mode():
        found = tower(noise(2, 3, 64, 96))
        assert torch.allclose(found, tower.model(noise(2, 3, 64, 96)).last_hidden_state, atol=1e-5)
    assert (found.shape, tower.dim, tower.dims) == ((2, 32, 2, 3), 32, 2)


def test_channels_that_a_checkpoint_does_not_have_are_averaged_and_repeated(folders, tmp_path):
    three, one = image_tower(folders["ViT"], channels=1), image_tower(save_vision("ViT", tmp_path, num_channels=1), channels=3)
    grey, colour = noise(1, 1, 32, 32), noise(1, 3, 32, 32)
    with torch.inference_mode():
        assert torch.allclose(three.eval()(grey), three(grey.expand(-1, 3, -1, -1)), atol=1e-5)
        assert torch.allclose(one.eval()(colour), one(colour.mean(1, keepdim=True)), atol=1e-5)


@pytest.mark.parametrize(("name", "inside"), [("preprocessor_config.json", None), ("processor_config.json", "image_processor")])
def test_pixels_are_scaled_as_the_checkpoint_was_trained(tmp_path, name, inside):
    about = {"image_mean": [0.1, 0.2, 0.3], "image_std": [0.5, 0.6, 0.7]}
    (save_vision("ViT", tmp_path) / name).write_text(json.dumps({inside: about} if inside else about))
    tower, x = image_tower(tmp_path, channels=3).eval(), noise(1, 3, 32, 32)
    scaled = torch.stack([((x[:, c] + 1) / 2 - about["image_mean"][c]) / about["image_std"][c] for c in range(3)], dim=1)
    with torch.inference_mode():
        tokens = tower.model(scaled).last_hidden_state[:, 1:]
        assert torch.allclose(tower(x).flatten(2).transpose(1, 2), tokens, atol=1e-5)


def test_a_processor_that_does_not_normalise_gives_pixels_from_0_to_1(tmp_path):
    (save_vision("ViT", tmp_path) / "preprocessor_config.json").write_text('{"do_normalize": false, "image_mean": [9, 9, 9]}')
    assert image_tower(tmp_path, channels=3).pixel_scale[:, :, 0, 0].tolist() == [[0] * 3, [1] * 3]


def test_the_scale_of_pixels_is_kept_with_the_weights(folders, tmp_path):
    (save_vision("ViT", tmp_path) / "preprocessor_config.json").write_text('{"image_mean": [0.1], "image_std": [0.2]}')
    state = image_tower(tmp_path, channels=3).state_dict()
    other = image_tower(folders["ViT"], channels=3, pretrained=False)
    other.load_state_dict(state)
    assert other.pixel_scale[:, 0, 0, 0].tolist() == pytest.approx([0.1, 0.2])


@pytest.mark.parametrize("pretrained", [True, False])
def test_a_checkpoint_in_half_precision_is_computed_with_in_full(folders, tmp_path, pretrained):
    from transformers import ViTModel

    ViTModel.from_pretrained(folders["ViT"]).half().save_pretrained(tmp_path)
    assert {v.dtype for v in load_file(tmp_path / "model.safetensors").values()} == {torch.float16}
    tower = image_tower(tmp_path, channels=3, pretrained=pretrained)
    assert {v.dtype for v in tower.state_dict().values()} == {torch.float32}


def test_without_pretraining_the_configuration_alone_gives_the_shape(folders, tmp_path):
    full = image_tower(folders["CLIP"], channels=3)
    (tmp_path / "config.json").write_bytes((folders["CLIP"] / "config.json").read_bytes())
    bare = image_tower(tmp_path, channels=3, pretrained=False)
    bare.load_state_dict(full.state_dict())
    with torch.inference_mode():
        assert torch.equal(bare.eval()(noise(1, 3, 32, 32)), full.eval()(noise(1, 3, 32, 32)))


def test_only_a_clips_image_part_is_kept(folders):
    assert not [k for k in image_tower(folders["CLIP"], channels=3).state_dict() if "text" in k or "projection" in k]


@pytest.mark.parametrize("name", ["openai/clip-vit-base-patch32", "resnet", ""])
def test_what_is_neither_tower_nor_folder_lists_the_towers_and_says_how_to_get_one(name):
    with pytest.raises(ValueError, match=r"no known tower \(slice_cnn, .*lite0.*hf download .* --local-dir DIR"):
        image_tower(name or "no/such", channels=3)


def test_a_folder_without_a_configuration_is_refused(tmp_path):
    with pytest.raises(ValueError, match="holds no config.json, so it is no Hugging Face checkpoint"):
        image_tower(tmp_path, channels=3)


@pytest.mark.parametrize("content", ["{", "{}", '{"model_type": "no such"}'])
def test_a_configuration_of_something_else_is_refused(tmp_path, content):
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(ValueError, match=f"{tmp_path.name}: cannot be read as a checkpoint"):
        image_tower(tmp_path, channels=3)


def test_a_text_model_is_no_image_tower(folders):
    with pytest.raises(ValueError, match="is a BertModel, which reads input_ids; wanted: pixel_values"):
        image_tower(folders["BERT"], channels=3)


def test_weights_that_are_missing_are_not_made_up(tmp_path):
    path = save_vision("ViT", tmp_path) / "model.safetensors"
    weights = load_file(path)
    (gone,) = [k for k in weights if k.endswith("layers.1.mlp.fc1.weight") or k.endswith("layer.1.intermediate.dense.weight")]
    save_file({k: v for k, v in weights.items() if k != gone}, path, {"format": "pt"})
    with pytest.raises(ValueError, match="1 weights of ViTModel are missing"):
        image_tower(tmp_path, channels=3)


def test_a_head_that_nothing_uses_may_be_missing(tmp_path, folders):
    path = save_vision("ViT", tmp_path) / "model.safetensors"
    save_file({k: v for k, v in load_file(path).items() if "pooler" not in k}, path, {"format": "pt"})
    with torch.inference_mode():
        maps = [image_tower(folder, channels=3).eval()(noise(1, 3, 32, 32)) for folder in (tmp_path, folders["ViT"])]
    assert torch.equal(*maps)


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_bytes(path.read_bytes()[:-100])])
def test_damaged_or_absent_weights_are_refused(tmp_path, damage):
    damage(save_vision("ViT", tmp_path) / "model.safetensors")
    with pytest.raises(ValueError, match="cannot be read as a checkpoint"):
        load_part(tmp_path, part="vision_model", reads="pixel_values")


class Mine:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("evil", [False, True])
def test_weights_in_a_pickle_are_not_read(tmp_path, evil):
    path = save_vision("ViT", tmp_path) / "model.safetensors"
    torch.save(load_file(path) | ({"mine": Mine(tmp_path / "ran")} if evil else {}), tmp_path / "pytorch_model.bin")
    path.unlink()
    with pytest.raises(ValueError, match=r"cannot be read as a checkpoint: .*model\.safetensors"):
        load_part(tmp_path, part="vision_model", reads="pixel_values")
    assert not (tmp_path / "ran").exists()


def test_a_mean_for_other_channels_is_refused(tmp_path):
    (save_vision("ViT", tmp_path, num_channels=1) / "preprocessor_config.json").write_text('{"image_mean": [0.5, 0.5, 0.5]}')
    with pytest.raises(ValueError, match="are for 3 channels, the model has 1"):
        image_tower(tmp_path, channels=1)


def test_a_transformer_that_merges_patches_is_refused(tmp_path):
    folder = save_vision("Swin", tmp_path)
    with pytest.raises(ValueError, match="SwinModel gives 16 tokens for 8 x 8 patches; use a ViT or a ConvNeXt"):
        image_tower(folder, channels=3)(noise(1, 3, 32, 32))


@pytest.mark.parametrize(("name", "dims"), [("slice_cnn", 3), ("efficientnet_lite0", 3), ("resnet10", 1), ("some/folder", 3)])
def test_a_form_that_a_tower_does_not_have_is_refused(name, dims):
    with pytest.raises(ValueError, match=f"'{name}' has no form with dims={dims}; for volumes"):
        image_tower(name, channels=1, dims=dims)


@pytest.mark.parametrize(("name", "dims"), [("slice_cnn", 2), ("efficientnet_lite0", 2), ("vit", 2), ("vit", 3)])
def test_an_input_with_another_number_of_axes_is_refused(name, dims):
    tower = image_tower(name, channels=1, dims=dims, pretrained=False)
    with pytest.raises(ValueError, match=r"this tower takes \(b, channel, .*row, column\), got an input of shape \(1, 1, 16"):
        tower(torch.zeros(1, 1, *(16,) * (5 - dims)))


def test_monai_and_transformers_are_imported_by_those_who_ask_for_them():
    code = (
        "import sys; from medclip_nb.model.encoders import image_tower; image_tower('slice_cnn', channels=1);"
        "import medclip_nb.model.text_tower, medclip_nb.model.finetune;"
        "print({'monai', 'transformers', 'peft'} & set(sys.modules))"
    )
    shown = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[1]
    )
    assert shown.stdout.strip() == "set()"


def test_every_volume_tower_is_a_tower():
    assert set(VOLUME_TOWERS) <= set(TOWERS)
