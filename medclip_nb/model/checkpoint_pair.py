"""CLIP-like checkpoints as they are published: pictures and texts in one space, prepared as their own files say."""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from .checkpoints import load_pair, reading
from .text_tower import folder_tokenizer

PADDED = "siglip"  # models of this family were trained on texts padded to their longest, without a mask
BATCH = 32


class CheckpointPair:
    """A folder with a CLIP, a SigLIP or any model that transformers' AutoModel gives both sides of.

    Raises ValueError if it is none, has no safetensors weights, no tokenizer or no image processor.
    """

    def __init__(self, folder: str | Path):
        from transformers import AutoImageProcessor

        folder = Path(folder)
        self.model = load_pair(folder)
        with reading(folder):
            self.prepare = AutoImageProcessor.from_pretrained(
                folder, backend="pil", local_files_only=True, trust_remote_code=False
            )
        self.tokenizer = folder_tokenizer(folder)
        config = self.model.config
        self.kind, self.side_px = type(self.model).__name__, config.vision_config.image_size
        self.max_tokens = config.text_config.max_position_embeddings
        self.padding = "max_length" if PADDED in config.model_type else "longest"

    @torch.inference_mode()
    def embed_images(self, images: UInt8[np.ndarray, "n row column 3"]) -> Float[np.ndarray, "n dim"]:
        """Features of pictures in RGB, not yet normalised."""
        parts = [list(images[i : i + BATCH]) for i in range(0, len(images), BATCH)]
        pixels = (self.prepare(images=part, return_tensors="pt", input_data_format="channels_last") for part in parts)
        return torch.cat([_pooled(self.model.get_image_features(pixel_values=p["pixel_values"])) for p in pixels]).numpy()

    @torch.inference_mode()
    def embed_texts(self, texts: list[str]) -> Float[np.ndarray, "n dim"]:
        """Features of texts, not yet normalised; what is longer than the model reads is cut."""
        names = ("input_ids",) if self.padding == "max_length" else ("input_ids", "attention_mask")
        found = []
        for i in range(0, len(texts), BATCH):
            tokens = self.tokenizer(
                texts[i : i + BATCH], padding=self.padding, truncation=True, max_length=self.max_tokens, return_tensors="pt"
            )
            found.append(_pooled(self.model.get_text_features(**{name: tokens[name] for name in names})))
        return torch.cat(found).numpy()


def _pooled(found) -> Tensor:
    """The vector, which newer versions of transformers wrap."""
    return (found if isinstance(found, Tensor) else found.pooler_output).float()
