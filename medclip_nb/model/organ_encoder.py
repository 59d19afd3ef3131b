"""CT-GLIP's image side: one vector per organ (Lin et al., arXiv 2404.15272; no code of it is public, this is a reconstruction).

v_ik = normalise(head(pool of the features F_i inside mask M_ik)). Two forms: "map" encodes the volume once and pools its feature
map by every organ's mask, as the paper does; "crops" (ours) encodes a crop of each organ, which the mask goes into as a channel.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor, nn
from torch.nn.functional import normalize

from ..config import EMBED_DIM, ORGAN_TOWER, RECIPES, Recipe, choose
from .dual_encoder import TextSide, scaled
from .encoders import image_tower
from .organ_pooling import ORGAN_POOLINGS, masks_of, shares_inside
from .text_tower import MINILM, text_dim

FORMS = ("crops", "map")


@dataclass(frozen=True)
class OrganConfig:
    """What is needed to build the model before its weights are loaded."""

    organs: tuple[str, ...]
    form: str = "crops"  # or "map"
    organ_pooling: str = "mean_max"  # a name in ORGAN_POOLINGS
    image_tower: str = ORGAN_TOWER
    channels: int = 3
    embed_dim: int = EMBED_DIM
    scale: float = RECIPES["ct_glip"].scale
    bias: float = RECIPES["ct_glip"].bias
    text_tower: str = MINILM  # a name or a folder; frozen, it stays outside


class OrganEncoder(TextSide):
    """Organs of scans and texts in one space."""

    def __init__(self, config: OrganConfig):
        if config.form not in FORMS:
            raise ValueError(f"unknown form {config.form!r} of organ units; choose one of: {', '.join(FORMS)}")
        width = text_dim(config.text_tower)
        super().__init__(embed_dim=config.embed_dim, scale=config.scale, bias=config.bias, text_dim=width)
        self.config = config
        channels = config.channels + (config.form == "crops")
        self.tower = image_tower(config.image_tower, channels=channels, pretrained=False, dims=3)
        self.pool = choose(ORGAN_POOLINGS, "organ pooling", config.organ_pooling)(self.tower.dim, len(config.organs))
        self.head = nn.Sequential(nn.BatchNorm1d(self.pool.dim), nn.Linear(self.pool.dim, config.embed_dim))

    def encode_images(self, *images: Tensor) -> Float[Tensor, "unit dim"]:
        """L2-normalised embedding of each organ unit.

        Form "crops": crops `(unit, channel, slice, row, column)`, share inside `(unit, slice, row, column)` of 255, number of the
        organ `(unit,)`; the same three again for crops of another size, whose units come after. Form "map": volumes, label maps
        `(b, slice, row, column)`, and which organs are wanted `(b, organ)`; units come scan by scan, in the order of the organs.
        """
        groups = [images[i : i + 3] for i in range(0, len(images), 3) if len(images[i])]
        if not groups:
            return torch.zeros(0, self.config.embed_dim, device=images[0].device)
        pooled = [self.pool(*self.features(*group)) for group in groups]
        crops = self.config.form == "crops"
        return self.embed(torch.cat([p[:, 0] if crops else p[group[2]] for p, group in zip(pooled, groups, strict=True)]))

    def parts(self, images: tuple[Tensor, ...], n: int) -> list[tuple[Tensor, ...]]:
        """What `encode_images` takes, so many images at a time; crops of one size are never mixed with those of another."""
        groups = [images[i : i + 3] for i in range(0, len(images), 3)]
        return [part for group in groups if len(group[0]) for part in super(OrganEncoder, self).parts(group, n)]

    def encode_cells(self, images: Tensor, masks: Tensor, organ: Tensor) -> Float[Tensor, "b slice row column dim"]:
        """Embedding of each cell of the feature map as if it were the whole organ: where a score comes from."""
        features = self.features(images, masks, organ)[0].float()
        cells = features.movedim(1, -1)
        return self.embed(torch.cat([cells] * (self.pool.dim // cells.shape[-1]), dim=-1).flatten(0, 3)).unflatten(
            0, cells.shape[:4]
        )

    def features(
        self, images: UInt8[Tensor, "b channel slice row column"], masks: UInt8[Tensor, "b slice row column"], organ: Tensor
    ) -> tuple[Float[Tensor, "b width *grid"], Float[Tensor, "b organ *grid"], Int[Tensor, "b organ"]]:
        """Feature map, share of each cell inside each organ, and the organs' numbers: what a pooling takes."""
        pixels, n_organs = scaled(images), len(self.config.organs)
        if self.config.form == "crops":
            inside, number = masks[:, None].float() / 255, organ[:, None]
            pixels = torch.cat([pixels, 2 * inside - 1], dim=1)
        else:
            inside, number = masks_of(masks, n_organs), torch.arange(n_organs, device=images.device).expand(len(images), -1)
        features = self.tower(pixels)
        return features, shares_inside(inside, tuple(features.shape[2:])), number

    def embed(self, pooled: Float[Tensor, "unit width"]) -> Float[Tensor, "unit dim"]:
        """L2-normalised embedding of pooled features."""
        return normalize(self.head(pooled.float()), dim=-1)


def build_organ_encoder(
    recipe: Recipe,
    organs: tuple[str, ...],
    *,
    channels: int,
    seed: int,
    form: str = "crops",
    organ_pooling: str = "mean_max",
    tower: str = ORGAN_TOWER,
    kind: type[OrganEncoder] = OrganEncoder,
) -> OrganEncoder:
    """A fresh model; the same seed gives the same weights."""
    torch.manual_seed(seed)
    return kind(OrganConfig(organs, form, organ_pooling, tower, channels=channels, scale=recipe.scale, bias=recipe.bias))
