"""What the failures of each method suggest, as small changes to it: tried by the studies of a search, kept only if they pay.

CT-GLIP's dictionary is drawn at random, and most of its phrases are easily told from what a batch says; its organs share one
temperature, though lungs are harder than kidneys. SeLIP's batches hold texts of all kinds, so that a batch asks little of them.
"""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..learn.organ_pairs import OrganPairs
from ..learn.pairs import ImagePairs, Rows
from ..model.organ_encoder import OrganConfig, OrganEncoder

HARDNESS = 5.0  # of a phrase: its cosine with the nearest sentence of the batch, times this, is added to its log-probability
SPREAD = 4  # batches that neighbouring texts are dealt to, so that equal ones do not meet


class HardPhrases(OrganPairs):
    """Dictionary negatives that resemble what the batch says of the same organ are drawn more often."""

    def _drawn(self, units: Rows, rng: np.random.Generator | None) -> Rows:
        if rng is None:
            return super()._drawn(units, rng)
        said, phrases = np.unique(self.texts.own_column[self._entries(units)[0]]), self.units.negatives.column
        cosines = self._meaning[self.texts.sentence[phrases]] @ self._meaning[self.texts.sentence[said]].T
        same_organ = torch.from_numpy(self.texts.organ[phrases][..., None] == self.texts.organ[said])
        nearest = cosines.masked_fill(~same_organ, -1).amax(-1).numpy()
        how = {"power": self.recipe.dictionary_power, "more": HARDNESS * nearest}
        return self.units.negatives.draw(rng, self.recipe.n_dictionary, **how)


class OwnTemperatures(OrganEncoder):
    """Each organ has a learnt temperature: the length of its embedding, 1 at the start."""

    def __init__(self, config: OrganConfig):
        super().__init__(config)
        self.log_length = nn.Parameter(torch.zeros(len(config.organs)))

    def encode_images(self, *images: Tensor) -> Float[Tensor, "unit dim"]:
        """As of `OrganEncoder` in form "crops", but not of length 1."""
        organ = torch.cat([images[i + 2] for i in range(0, len(images), 3)])
        return super().encode_images(*images) * self.log_length[organ].exp()[:, None]


class NearTexts(ImagePairs):
    """Batches of texts that resemble each other: neighbours along a direction drawn anew for each epoch."""

    def epoch(self, rng: np.random.Generator, size: int) -> list[Rows]:
        """What the recipe draws, sorted, and dealt to SPREAD batches at a time."""
        rows = np.concatenate(super().epoch(rng, size))
        spread = max(1, min(SPREAD, len(rows) // size))
        direction, n = torch.from_numpy(rng.normal(size=self.features.shape[1])).float(), spread * size
        order = np.argsort((self.features[self._text[rows]] @ direction).numpy())
        first = rng.integers(len(rows) % n + 1)  # what is over is left out now at one end, now at the other
        parts = [rows[order[i : i + n]] for i in range(first, len(rows) - n + 1, n)]
        batches = [part[i::spread] for part in parts for i in range(spread)]
        return [batches[i] for i in rng.permutation(len(batches))]
