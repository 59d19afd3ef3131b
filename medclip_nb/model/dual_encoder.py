"""Towers + pooling + logit scale: the whole of a CLIP-like model (Radford et al. 2021, figure 3).

image_emb = normalise(project(pool(tower(images))))      text_emb = normalise(project(sentence embedding - mean))
logits = exp(log_scale) * image_emb @ text_emb.T + bias
"""

import math
from dataclasses import asdict, dataclass

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor, nn
from torch.nn.functional import normalize

from ..config import EMBED_DIM, GRID_CELLS, MAX_LOGIT_SCALE, RECIPES, Recipe, choose
from .encoders import image_tower
from .pooling import Grid, MeanMax, mean_weights, weighted
from .text_tower import MINILM, TextTower, text_dim

LARGEST = math.log(MAX_LOGIT_SCALE) - 1e-6  # less than the limit by rounding: its exponential must not lie above, in float32
Images = UInt8[Tensor, "b channel slice row column"]
Texts = Float[Tensor, "text width"] | Int[Tensor, "text 2 token"]  # features of a frozen tower, or tokens


@dataclass(frozen=True)
class ModelConfig:
    """What is needed to build the model before its weights are loaded."""

    image_tower: str = "slice_cnn"
    channels: int = 3
    embed_dim: int = EMBED_DIM
    scale: float = RECIPES["clip"].scale
    bias: float = RECIPES["clip"].bias
    dims: int = 2  # 2: the tower sees slices one by one; 3: the volume at once
    text_tower: str = MINILM  # a name or a folder
    train_texts: bool = False  # whether the text tower is inside, to be trained; else texts come as its features
    map_pooling: str = "mean_max"  # how a feature map becomes a vector; "grid" keeps what is where


MAP_POOLINGS = {"mean_max": lambda dim, dims: MeanMax(dim), "grid": lambda dim, dims: Grid(dim, GRID_CELLS[dims])}


class TextSide(nn.Module):
    """What every model has: the texts' head, the scale and the bias.

    The text tower is frozen and stays outside, texts coming as its features; or it is inside, and texts come as its tokens.
    """

    def __init__(self, *, embed_dim: int, scale: float, bias: float, text_dim: int, text_tower: TextTower | None = None):
        super().__init__()
        self.text_tower, self.text_head = text_tower, nn.Linear(text_dim, embed_dim)
        self.register_buffer("text_mean", torch.zeros(text_dim))
        self.log_scale = nn.Parameter(torch.tensor(math.log(scale)))
        self.bias = nn.Parameter(torch.tensor(bias), requires_grad=bias != 0)

    @property
    def logit_scale(self) -> Float[Tensor, ""]:
        """Factor of the cosine: the exponential of what is learnt, at most MAX_LOGIT_SCALE."""
        return self.log_scale.exp().clamp(max=MAX_LOGIT_SCALE)

    @torch.no_grad()
    def clamp_scale(self) -> None:
        """Brings what is learnt back to the limit after a step: beyond it the clamp has no gradient to come back by."""
        self.log_scale.clamp_(max=LARGEST)

    @torch.no_grad()
    def centre_texts(self, texts: Texts) -> None:
        """Stores the mean of the training texts: sentence embeddings share most of their length, the rest tells."""
        self.text_mean.copy_(self._features(texts).mean(0))

    def encode_texts(self, texts: Texts) -> Float[Tensor, "text dim"]:
        """L2-normalised embedding of texts, given the frozen tower's features, or tokens if the tower is inside."""
        return normalize(self.text_head(normalize(self._features(texts) - self.text_mean, dim=-1)), dim=-1)

    def encode_mean(self, texts: Texts) -> Float[Tensor, " dim"]:
        """One L2-normalised vector for several texts: the mean of their embeddings."""
        return normalize(self.encode_texts(texts).mean(0), dim=-1)

    def _features(self, texts: Texts) -> Float[Tensor, "text width"]:
        return texts if self.text_tower is None else self.text_tower(texts)

    def similarity(self, image_emb: Float[Tensor, "b dim"], text_emb: Float[Tensor, "text dim"]) -> Float[Tensor, "b text"]:
        """Cosine of each unit with each text."""
        return image_emb @ text_emb.T

    def logits(self, image_emb: Float[Tensor, "b ..."], text_emb: Float[Tensor, "text dim"]) -> Float[Tensor, "b text"]:
        """What the loss is made of: the similarity, scaled, plus the bias."""
        return self.logit_scale * self.similarity(image_emb, text_emb) + self.bias

    def parts(self, images: tuple[Tensor, ...], n: int) -> list[tuple[Tensor, ...]]:
        """What `encode_images` takes, so many images at a time: the embeddings of all parts, in order, are those of the whole."""
        return list(zip(*(t.split(n) for t in images), strict=True))

    def to_dict(self) -> dict:
        """The configuration as JSON can hold it."""
        return asdict(self.config)

    def forward(self, images: tuple[Tensor, ...], texts: Texts) -> Float[Tensor, "b text"]:
        """Logits of each unit against each text; `images` is what `encode_images` takes."""
        return self.logits(self.encode_images(*images), self.encode_texts(texts))


class DualEncoder(TextSide):
    """Images and texts in one space; a slice is an image with one slice, a volume the mean of its slices."""

    def __init__(self, config: ModelConfig, *, pretrained: bool = True):
        inside = TextTower(config.text_tower) if config.train_texts else None
        width = text_dim(config.text_tower)
        super().__init__(embed_dim=config.embed_dim, scale=config.scale, bias=config.bias, text_dim=width, text_tower=inside)
        self.config = config
        self.tower = image_tower(config.image_tower, channels=config.channels, pretrained=pretrained, dims=config.dims)
        pool = choose(MAP_POOLINGS, "map pooling", config.map_pooling)(self.tower.dim, config.dims)
        self.image_head = nn.Sequential(pool, nn.Linear(pool.dim, config.embed_dim))

    def encode_slices(self, images: Images) -> Float[Tensor, "b embedded dim"]:
        """L2-normalised embedding of every slice; of the volume, as if it were one slice, if the tower is 3D."""
        pixels, n_slices = scaled(images), images.shape[2]
        if self.config.dims == 3:
            return self._embed(pixels)[:, None]
        pixels = pixels.transpose(1, 2).flatten(0, 1).contiguous(memory_format=torch.channels_last)
        return self._embed(pixels).unflatten(0, (-1, n_slices))

    def features(self, images: Images) -> Float[Tensor, "b width"]:
        """What a probe reads: the pooled map of each volume, before projection; of a slice tower, its slices' mean."""
        pixels = scaled(images)
        if self.config.dims == 3:
            return self.image_head[0](self.tower(pixels))
        found = self.image_head[0](self.tower(pixels.transpose(1, 2).flatten(0, 1)))
        return found.unflatten(0, (-1, images.shape[2])).mean(1)

    def encode_images(
        self,
        images: Images,
        mask: Bool[Tensor, "b slice"] | None = None,
        maps: Float[Tensor, "b width row2 column2"] | None = None,
    ) -> Float[Tensor, "b embedded"]:
        """L2-normalised embedding of each unit: the mean of its slices' embeddings; `mask` is False on padding.

        `maps` are what the tower makes of single pictures, where that is known: it is then not run.
        """
        if maps is not None:
            return normalize(self.image_head(maps).float(), dim=-1)
        slices = self.encode_slices(images)
        if mask is None or self.config.dims == 3:
            mask = torch.ones(slices.shape[:2], dtype=torch.bool, device=slices.device)
        return normalize(weighted(slices, mean_weights(mask)), dim=-1)

    def _embed(self, pixels: Tensor) -> Float[Tensor, "n dim"]:
        return normalize(self.image_head(self.tower(pixels)).float(), dim=-1)


def scaled(images: Images) -> Float[Tensor, "b channel slice row column"]:
    """Pixels from -1 to 1; in place after the first step, since a fresh block of this size costs more than the sums."""
    return images.to(torch.float32, copy=True).div_(127.5).sub_(1)


def build_model(
    recipe: Recipe, *, image_tower: str, channels: int, seed: int, dims: int = 2, map_pooling: str = "mean_max"
) -> DualEncoder:
    """A fresh model; the same seed gives the same weights."""
    torch.manual_seed(seed)
    shape = {"dims": dims, "map_pooling": map_pooling}
    return DualEncoder(ModelConfig(image_tower, channels, scale=recipe.scale, bias=recipe.bias, **shape))
