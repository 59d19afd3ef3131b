"""Towers + pooling + logit scale: the whole of a CLIP-like model (Radford et al. 2021, figure 3).

image_emb = normalise(project(pool(tower(images))))      text_emb = normalise(project(sentence embedding - mean))
logits = exp(log_scale) * image_emb @ text_emb.T + bias
"""

import math
from dataclasses import asdict, dataclass

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor, nn
from torch.nn.functional import normalize

from ..config import EMBED_DIM, MAX_LOGIT_SCALE, RECIPES, Recipe
from .encoders import image_tower
from .pooling import mean_max, mean_slices
from .text_tower import TEXT_DIM


@dataclass(frozen=True)
class ModelConfig:
    """What is needed to build the model before its weights are loaded."""

    image_tower: str = "slice_cnn"
    channels: int = 3
    embed_dim: int = EMBED_DIM
    scale: float = RECIPES["clip"].scale
    bias: float = RECIPES["clip"].bias


class DualEncoder(nn.Module):
    """Image units and texts in one space. The text tower is frozen and stays outside: texts come as its features."""

    def __init__(self, config: ModelConfig, *, pretrained: bool = True):
        super().__init__()
        self.config = config
        self.tower = image_tower(config.image_tower, channels=config.channels, pretrained=pretrained)
        width = 2 * self.tower.dim
        self.image_head = nn.Sequential(nn.BatchNorm1d(width), nn.Linear(width, config.embed_dim))
        self.text_head = nn.Linear(TEXT_DIM, config.embed_dim)
        self.register_buffer("text_mean", torch.zeros(TEXT_DIM))
        self.log_scale = nn.Parameter(torch.tensor(math.log(config.scale)))
        self.bias = nn.Parameter(torch.tensor(config.bias), requires_grad=config.bias != 0)

    @property
    def logit_scale(self) -> Float[Tensor, ""]:
        """Factor of the cosine: the exponential of what is learnt, at most MAX_LOGIT_SCALE."""
        return self.log_scale.exp().clamp(max=MAX_LOGIT_SCALE)

    @torch.no_grad()
    def clamp_scale(self) -> None:
        """Brings what is learnt back to the limit after a step: beyond it the clamp has no gradient to come back by."""
        self.log_scale.clamp_(max=math.log(MAX_LOGIT_SCALE))

    def centre_texts(self, features: Float[Tensor, "text 384"]) -> None:
        """Stores the mean of the training texts: sentence embeddings share most of their length, the rest tells."""
        self.text_mean.copy_(features.mean(0))

    def encode_images(
        self, images: UInt8[Tensor, "b channel slice row column"], slice_mask: Bool[Tensor, "b slice"] | None = None
    ) -> Float[Tensor, "b dim"]:
        """L2-normalised embedding of each unit; slices are encoded one by one and averaged."""
        b, channels, n_slices = images.shape[:3]
        pixels = images.float().div(127.5).sub(1).transpose(1, 2).reshape(b * n_slices, channels, *images.shape[3:])
        pixels = pixels.contiguous(memory_format=torch.channels_last)
        slices = mean_max(self.tower(pixels)).unflatten(0, (b, n_slices))
        return normalize(self.image_head(mean_slices(slices, slice_mask).float()), dim=-1)

    def encode_texts(self, features: Float[Tensor, "text 384"]) -> Float[Tensor, "text dim"]:
        """L2-normalised embedding of texts, given the frozen tower's features."""
        return normalize(self.text_head(normalize(features - self.text_mean, dim=-1)), dim=-1)

    def forward(
        self, images: UInt8[Tensor, "b channel slice row column"], features: Float[Tensor, "text 384"]
    ) -> Float[Tensor, "b text"]:
        """Logits of each unit against each text."""
        sim = self.encode_images(images) @ self.encode_texts(features).T
        return self.logit_scale * sim + self.bias

    def to_dict(self) -> dict:
        """The configuration as JSON can hold it."""
        return asdict(self.config)


def build_model(recipe: Recipe, *, image_tower: str, channels: int, seed: int) -> DualEncoder:
    """A fresh model; the same seed gives the same weights."""
    torch.manual_seed(seed)
    return DualEncoder(ModelConfig(image_tower, channels, scale=recipe.scale, bias=recipe.bias))
