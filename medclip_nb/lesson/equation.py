"""What lesson 04 looks up: six units to think about, points on a circle that a loss moves, and what other targets change."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import normalize

from ..config import RECIPES
from ..learn import targets as right
from ..learn.losses import sigmoid_loss, soft_contrastive_loss
from ..measure.statistics import Score, mean_score

SIX = (  # caption, its short name, what it says, what the image shows, organ
    ("A nodule in the lung.", "nodule", "nodule", "nodule", "lung"),
    ("A nodule in the lung.", "nodule", "nodule", "nodule", "lung"),
    ("A pleural effusion.", "effusion", "effusion", "effusion nodule", "lung"),
    ("A cyst in the liver.", "cyst", "cyst", "cyst", "liver"),
    ("The lungs are clear.", "clear", "normal", "normal", "lung"),
    ("No disease of the lungs.", "no disease", "normal", "normal", "lung"),
)
LABELS = ("nodule", "effusion", "cyst", "normal")
TEXT_DEGREES = (90.0, -10.0, -60.0, 190.0, 240.0)  # where the frozen text tower of the toy puts the five texts, on a circle
START_DEGREES = (60.0, -60.0, -28.0, -26.0, 26.0, 16.0)  # from its own text to each of the six images at the start
JITTER = 0.05  # share by which that varies with the seed, for twins alike
TOY_SCALE, TOY_BIAS = 10.0, -7.0  # on the circle; the sigmoid is undecided at cosine 0.7
RIGHT_COSINE = 0.8  # of the right text, where the temperature is looked at
N_PAIRS, N_STEPS, RATE = 32, 150, 2e-3  # of a fit: pairs, steps of Adam and their length
N_BATCHES, N_UNITS, N_TEXTS, DIM = 100, 32, 12, 16  # random batches, with their size
N_WORDINGS = 3  # of the random texts, the first so many are wordings of "normal"
NOISE = 0.1  # standard deviation of what the noisy text tower adds to each coordinate

Loss = Callable[[Float[Tensor, "unit text"]], Float[Tensor, ""]]  # of cosines


def six_units() -> pd.DataFrame:
    """One batch: columns caption, short, says, shows (a set), organ, normal and text_id; one text is there twice."""
    table = pd.DataFrame(SIX, columns=["caption", "short", "says", "shows", "organ"])
    shows, text_id = table["shows"].str.split().map(set), pd.factorize(table["caption"])[0]
    return table.assign(shows=shows, normal=table["says"] == "normal", text_id=text_id)


def true_of(batch: pd.DataFrame) -> Bool[Tensor, "unit text"]:
    """Whether what a caption says is shown by a unit, its own or another's."""
    return torch.tensor([[says in shows for says in batch["says"]] for shows in batch["shows"]])


def label_vectors(batch: pd.DataFrame) -> tuple[Float[Tensor, "unit label"], Float[Tensor, "text label"]]:
    """1 where an image shows a label, and 1 where a caption says it."""
    shown = [[float(label in shows) for label in LABELS] for shows in batch["shows"]]
    said = [[float(label == says) for label in LABELS] for says in batch["says"]]
    return torch.tensor(shown), torch.tensor(said)


def softmax(targets: right.Targets, scale: float = TOY_SCALE) -> Loss:
    """The contrastive loss of cosines, in double precision."""
    sides = [right.shares(side.double()) for side in targets]
    return lambda cosine: soft_contrastive_loss(scale * cosine, *sides)


def sigmoid(targets: right.Targets, scale: float = TOY_SCALE, bias: float = TOY_BIAS) -> Loss:
    """The sigmoid loss of cosines: right is what has any share."""
    return lambda cosine: sigmoid_loss(scale * cosine + bias, targets[0] > 0)


def start_angles(batch: pd.DataFrame, *, seed: int) -> tuple[Float[Tensor, " unit"], Float[Tensor, " unit"]]:
    """Angles (radians) of the images of `six_units`, each near its own text, and of the texts, duplicates included."""
    ids = torch.tensor(batch["text_id"].to_numpy())
    texts = torch.deg2rad(torch.tensor(TEXT_DEGREES, dtype=torch.float64))[ids]
    random = torch.rand(len(TEXT_DEGREES), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)[ids]
    return texts + torch.deg2rad(torch.tensor(START_DEGREES)) * (1 + JITTER * (2 * random - 1)), texts


def cosines(images: Float[Tensor, " unit"], texts: Float[Tensor, " text"]) -> Float[Tensor, "unit text"]:
    """Cosine of each image with each text, given their angles."""
    return torch.cos(images[:, None] - texts)


def pulls(loss: Loss, images: Float[Tensor, " unit"], texts: Float[Tensor, " text"]) -> Float[Tensor, "unit text"]:
    """Minus the gradient by each cosine: above 0 the text pulls the image, below 0 it pushes it away."""
    cosine = cosines(images, texts).requires_grad_()
    return -torch.autograd.grad(loss(cosine), cosine)[0]


def pushes(loss: Loss, images: Float[Tensor, " unit"], texts: Float[Tensor, " text"]) -> Float[Tensor, "unit text"]:
    """What each text adds to minus the gradient by an image's angle; the sum over texts is where the image goes."""
    return pulls(loss, images, texts) * torch.sin(texts - images[:, None])


def descend(
    loss: Loss, images: Float[Tensor, " unit"], texts: Float[Tensor, " text"], *, steps: int = 300, rate: float = 0.05
) -> Float[Tensor, "moment unit"]:
    """Angles of the images under plain gradient descent, the start first; texts stay where they are."""
    path = [images]
    for _ in range(steps):
        path.append(path[-1] + rate * pushes(loss, path[-1], texts).sum(1))
    return torch.stack(path)


def temperature_effect(
    scales: Float[np.ndarray, " scale"], negatives: Float[np.ndarray, " negative"]
) -> tuple[Float[np.ndarray, "negative scale"], Float[np.ndarray, "negative scale"]]:
    """Probability of a text at RIGHT_COSINE against one wrong text, and the size of the loss's gradient by its cosine."""
    right_text = torch.full((len(negatives), len(scales)), RIGHT_COSINE, dtype=torch.float64, requires_grad=True)
    wrong = torch.from_numpy(negatives)[:, None].expand_as(right_text)
    logits = torch.from_numpy(scales)[:, None] * torch.stack([right_text, wrong], -1)
    loss = -logits.log_softmax(-1)[..., 0]
    (gradient,) = torch.autograd.grad(loss.sum(), right_text)
    return (-loss).exp().detach().numpy(), gradient.abs().numpy()


def fit(scale_of: Callable[[Tensor], Tensor], learnt: tuple[str, ...], *, seed: int) -> pd.DataFrame:
    """Embeddings of N_PAIRS pairs, fitted by Adam to what `learnt` names: columns step, loss, scale, gradient (by log_scale)."""
    random = torch.Generator().manual_seed(seed)
    start = {side: 0.1 * torch.randn(N_PAIRS, 2 * N_PAIRS, generator=random) for side in ("images", "texts")}
    start["log_scale"] = torch.tensor(RECIPES["clip"].scale).log()
    parts = {name: torch.nn.Parameter(value) for name, value in start.items()}
    optimiser = torch.optim.Adam([parts[name] for name in learnt], lr=RATE)
    targets, rows = right.identity(torch.arange(N_PAIRS)), []
    for step in range(N_STEPS):
        scale, cosine = scale_of(parts["log_scale"]), normalize(parts["images"]) @ normalize(parts["texts"]).T
        loss = soft_contrastive_loss(scale * cosine, *targets)
        for name, grad in zip(parts, torch.autograd.grad(loss, list(parts.values())), strict=True):
            parts[name].grad = grad
        rows.append((step, loss.item(), scale.item(), parts["log_scale"].grad.item()))
        optimiser.step()
    return pd.DataFrame(rows, columns=["step", "loss", "scale", "gradient"])


def lowest_loss(n: int, scale: float | pd.Series) -> float | pd.Series:
    """No embeddings of n different texts get below it: the right cosine 1 and all wrong ones -1 / (n - 1)."""
    return np.log1p((n - 1) * np.exp(-scale * n / (n - 1)))


def gaps(*, seed: int) -> pd.DataFrame:
    """How far other targets change the gradient by the images, in random batches that hold each text: case, batch, gap."""
    random, rows = torch.Generator().manual_seed(seed), []
    for batch in range(N_BATCHES):
        ids = torch.cat([torch.arange(N_TEXTS), torch.randint(N_TEXTS, (N_UNITS - N_TEXTS,), generator=random)])
        images, texts = (normalize(_normal(n, random)) for n in (N_UNITS, N_TEXTS))
        for case, pair in _cases(ids, texts, random).items():
            one, other = (_gradient(loss, images, columns) for loss, columns in pair)
            rows.append((case, batch, relative_change(one, other)))
    return pd.DataFrame(rows, columns=["case", "batch", "gap"])


def relative_change(one: Float[Tensor, "..."], other: Float[Tensor, "..."]) -> float:
    """Length of the difference over the length of the first."""
    return float(torch.linalg.norm(one - other) / torch.linalg.norm(one))


def gap_scores(table: pd.DataFrame, *, n_bootstrap: int) -> list[Score]:
    """Mean gap of each case with its interval over batches."""
    by_case = table.groupby("case", sort=False)["gap"]
    return [batch_score(f"gradient changed: {case}", gap, n_bootstrap=n_bootstrap) for case, gap in by_case]


def batch_score(name: str, values: pd.Series | np.ndarray, *, n_bootstrap: int, chance: float | None = None) -> Score:
    """Mean of a value per batch, with an interval over batches."""
    score = mean_score(name, np.asarray(values), np.arange(len(values)), chance=chance, n_bootstrap=n_bootstrap)
    return replace(score, unit="batches")


def diagonal_accuracy(*, seed: int) -> Float[np.ndarray, " batch"]:
    """Share of units whose own text a perfect model names, in random batches with twins; of copies it names the first."""
    ids = np.random.default_rng(seed).integers(0, N_TEXTS, (N_BATCHES, N_UNITS))
    named = (ids[:, :, None] == ids[:, None]).argmax(2)
    return (named == np.arange(N_UNITS)).mean(1)


def _cases(ids: Tensor, texts: Tensor, random: torch.Generator) -> dict[str, tuple]:
    """Two losses, each with the text columns it sees."""
    columns, distinct, clip, siglip = texts[ids], ids.unique(), RECIPES["clip"].scale, RECIPES["siglip"]
    noisy = normalize(columns + NOISE * _normal(N_UNITS, random))
    second = torch.randint(N_TEXTS, (N_UNITS, 1), generator=random)  # what each image shows, too
    own, same, normal = right.identity(ids), right.same_text(ids), right.both_normal(ids, ids < N_WORDINGS)
    true = right.from_relation((ids[:, None] == ids) | (second == ids))
    plain = (softmax(own, clip), columns)
    by_sigmoid = [(sigmoid(targets, siglip.scale, siglip.bias), columns) for targets in (own, same)]
    return {
        "twins, softmax": (plain, (softmax(same, clip), columns)),
        "twins, sigmoid": tuple(by_sigmoid),
        "noise on the texts": ((softmax(own, clip), noisy), (softmax(same, clip), noisy)),
        "twins merged": (plain, (softmax(right.class_level(ids, distinct), clip), texts[distinct])),
        "normals in other words": (plain, (softmax(normal, clip), columns)),
        "true of another": (plain, (softmax(true, clip), columns)),
    }


def _normal(n: int, random: torch.Generator) -> Float[Tensor, "n dim"]:
    return torch.randn(n, DIM, dtype=torch.float64, generator=random)


def _gradient(loss: Loss, images: Float[Tensor, "unit dim"], texts: Float[Tensor, "text dim"]) -> Float[Tensor, "unit dim"]:
    images = images.clone().requires_grad_()
    return torch.autograd.grad(loss(normalize(images) @ texts.T), images)[0]
