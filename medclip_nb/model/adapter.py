"""RadCLIP's second stage: slices that a trained encoder has embedded become one volume (Lu et al., arXiv 2403.09948).

The encoder is frozen, so its slice embeddings are computed once and the adapter trains on them in seconds. With a slice encoder
inside, the adapter takes images instead, and both train together.
"""

import math
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.functional import normalize

from ..config import ADAPTER_DROPOUT, EMBED_DIM, PROMPT_TAU, RECIPES, choose
from .dual_encoder import DualEncoder, ModelConfig, TextSide
from .pooling import POOLINGS, prompt_attention
from .text_tower import MINILM, text_dim

ByPrompt = Float[Tensor, "b slice dim"]


@dataclass(frozen=True)
class AdapterConfig:
    """What is needed to build the adapter before its weights are loaded."""

    pooling: str  # a name in POOLINGS
    embed_dim: int = EMBED_DIM
    scale: float = RECIPES["clip"].scale
    bias: float = RECIPES["clip"].bias
    text_tower: str = MINILM  # a name or a folder; frozen, it stays outside
    slices: ModelConfig | None = None  # of the slice encoder inside, if there is one


class SliceAdapter(TextSide):
    """Slices of a volume and texts in one space.

    With pooling "prompt" a volume has no vector of its own: each text pools the slices (`prompt_attention`), and
    `encode_images` gives all of them, those of padding as zeros.
    """

    def __init__(self, config: AdapterConfig):
        width = text_dim(config.text_tower)
        super().__init__(embed_dim=config.embed_dim, scale=config.scale, bias=config.bias, text_dim=width)
        self.config = config
        self.encoder = DualEncoder(config.slices, pretrained=False) if config.slices else None
        self.pool = choose(POOLINGS, "pooling", config.pooling)(config.embed_dim)
        self.drop, self.head = nn.Dropout(ADAPTER_DROPOUT), nn.Linear(self.pool.dim, config.embed_dim)

    def encode_images(
        self, images: Tensor, mask: Bool[Tensor, "b slice"], position_mm: Float[Tensor, "b slice"]
    ) -> Float[Tensor, "b dim"] | ByPrompt:
        """L2-normalised embedding of volumes, given slice embeddings `(b, slice, dim)`, or pixels if an encoder is inside."""
        slices = self._slices(images)
        if self.config.pooling == "prompt":
            return normalize(self.head(slices), dim=-1) * mask[..., None]
        return normalize(self.head(self.pool(slices, mask, position_mm)[0]), dim=-1)

    def similarity(self, image_emb: Float[Tensor, "b ..."], text_emb: Float[Tensor, "text dim"]) -> Float[Tensor, "b text"]:
        """Cosine of each volume with each text."""
        if self.config.pooling == "prompt":
            return prompt_attention(image_emb, text_emb, image_emb.any(-1), tau=PROMPT_TAU)[0]
        return super().similarity(image_emb, text_emb)

    def weights(
        self, images: Tensor, mask: Bool[Tensor, "b slice"], position_mm: Float[Tensor, "b slice"], text_emb: Tensor | None = None
    ) -> Float[Tensor, "b row slice"]:
        """What each slice counts: a row per head, or per text if the pooling is "prompt" (which needs `text_emb`)."""
        if self.config.pooling == "prompt":
            return prompt_attention(self.encode_images(images, mask, position_mm), text_emb, mask, tau=PROMPT_TAU)[1]
        return self.pool(self._slices(images), mask, position_mm)[1]

    def _slices(self, images: Tensor) -> Float[Tensor, "b slice dim"]:
        slices = self.encoder.encode_slices(images) if self.encoder else images
        # coordinates of size about 1, as linear layers expect; a vector of length 1 has smaller ones
        return self.drop(slices * math.sqrt(slices.shape[-1]))


def build_adapter(pooling: str, encoder: DualEncoder, *, seed: int, end_to_end: bool = False) -> SliceAdapter:
    """A fresh adapter on a trained slice encoder, whose text head and scale it starts from; the same seed, the same weights.

    `end_to_end` puts a copy of the encoder inside, to be trained along.
    """
    torch.manual_seed(seed)
    own = encoder.config
    config = AdapterConfig(pooling, own.embed_dim, own.scale, own.bias, own.text_tower, own if end_to_end else None)
    adapter = SliceAdapter(config)
    shared = {k: v for k, v in encoder.state_dict().items() if k in adapter.state_dict()}
    adapter.load_state_dict(shared, strict=False)
    if end_to_end:
        adapter.encoder.load_state_dict(encoder.state_dict())
    return adapter


def with_encoder(adapter: SliceAdapter, encoder: DualEncoder) -> SliceAdapter:
    """The adapter and the slice encoder it was trained on as one model, which takes images."""
    whole = SliceAdapter(replace(adapter.config, slices=encoder.config))
    whole.load_state_dict(adapter.state_dict(), strict=False)
    whole.encoder.load_state_dict(encoder.state_dict())
    return whole.eval()
