"""Hugging Face checkpoints small enough to be made in a test: 32 dimensions, 2 layers, random weights."""

import json
from pathlib import Path

import torch

SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
PATCHES = {"image_size": 32, "patch_size": 8}
MAPS = {"hidden_sizes": [8, 8, 16, 32], "depths": [1] * 4}
SWIN = {"image_size": 32, "patch_size": 4, "embed_dim": 8, "depths": [1, 1], "num_heads": [2, 2], "window_size": 2}
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "chest", "head", "ct", "nodule", "liver", "a", "long", "sentence", ","]
POSITIONS = 24  # tokens that the text models read at most


def save(model, folder: Path) -> Path:
    """Writes a model's configuration and weights, as transformers does."""
    model.save_pretrained(folder)
    return folder


def save_vision(kind: str, folder: Path, **config) -> Path:
    """A vision model by the name of its class without "Model": "ViT", "Dinov2WithRegisters", "ConvNext", ..."""
    import transformers

    torch.manual_seed(0)
    shape = {"ConvNext": MAPS, "ResNet": MAPS, "Swin": SWIN}.get(kind, SMALL | PATCHES)
    settings = getattr(transformers, f"{kind}Config")(**shape | config)
    return save(getattr(transformers, f"{kind}Model")(settings), folder)


def save_clip(folder: Path) -> Path:
    """A CLIP with both its parts and a tokenizer."""
    from transformers import CLIPConfig, CLIPModel

    torch.manual_seed(0)
    special = {"bos_token_id": 2, "eos_token_id": 3, "pad_token_id": 0}
    text = SMALL | special | {"vocab_size": len(WORDS), "max_position_embeddings": POSITIONS}
    save(CLIPModel(CLIPConfig(text_config=text, vision_config=SMALL | PATCHES, projection_dim=16)), folder)
    return add_tokenizer(folder)


def save_bert(folder: Path, *, seed: int = 0) -> Path:
    """A BERT with a tokenizer."""
    from transformers import BertConfig, BertModel

    torch.manual_seed(seed)
    save(BertModel(BertConfig(**SMALL, vocab_size=len(WORDS), max_position_embeddings=POSITIONS)), folder)
    return add_tokenizer(folder)


def add_tokenizer(folder: Path) -> Path:
    """WordPiece over WORDS."""
    (folder / "vocab.txt").write_text("\n".join(WORDS))
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "BertTokenizer"}))
    return folder
