"""Embeddings of very many texts, in shards by the text's hash: a killed run goes on, and one shard at a time is in memory."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file
from torch import Tensor

from ..files import whole

N_SHARDS = 256  # by the first two hexadecimal digits; of a million texts each has some 4,000: minutes are lost with a kill


def embed_in_shards(
    texts: list[str], keys: list[str], folder: Path, *, dim: int, run: Callable[[list[str]], Float[np.ndarray, "text dim"]]
) -> Float[Tensor, "text dim"]:
    """The embedding of each text, in the order given; `run` is asked for those that no shard in `folder` has, each once.

    `keys` are hashes of the texts in hexadecimal. Beyond the result (4 bytes times `dim` a text) memory holds one shard. A
    shard is written, whole, when all its new texts are embedded; a damaged one is made again.
    """
    from tqdm.auto import tqdm

    out = torch.empty(len(texts), dim)
    shard = np.array([int(key[:2], 16) for key in keys], np.uint8)
    order = np.argsort(shard, kind="stable")
    parts = np.split(order, np.searchsorted(shard[order], np.arange(1, N_SHARDS)))
    for number, rows in enumerate(tqdm(parts, desc="text shards", delay=2, leave=False)):
        if len(rows):
            own = {keys[i]: texts[i] for i in rows}
            known, vectors = _with_new(folder / f"{number:02x}.safetensors", own, run)
            out[rows] = torch.from_numpy(vectors[[known[keys[i]] for i in rows]])
    return out


def _with_new(file: Path, texts: dict[str, str], run: Callable) -> tuple[dict[str, int], Float[np.ndarray, "known dim"]]:
    """Which row of the shard each key has, and its vectors, after what was missing was added and kept."""
    known, vectors = _read(file)
    new = [key for key in texts if key not in known]
    if not new:
        return known, vectors
    made = run([texts[key] for key in new])
    vectors = np.concatenate([vectors, made]) if known else made
    known |= {key: len(known) + i for i, key in enumerate(new)}
    hashes = np.frombuffer(bytes.fromhex("".join(known)), np.uint8).reshape(len(known), -1)
    with whole(file) as part:
        save_file({"keys": hashes, "vectors": np.ascontiguousarray(vectors)}, part)
    return known, vectors


def _read(file: Path) -> tuple[dict[str, int], Float[np.ndarray, "known dim"]]:
    try:
        stored = load_file(file)
        known = {row.tobytes().hex(): i for i, row in enumerate(stored["keys"])}
        file.touch()  # when it was last used: `cache.trim` goes by it
        return known, stored["vectors"]
    except (FileNotFoundError, SafetensorError, KeyError):
        return {}, np.empty((0, 0), np.float32)
