"""How far an epoch has come, how fast it goes, and what there is to say of a run."""

from dataclasses import dataclass, field

import pandas as pd
from torch import Tensor

from .batch import Rows

STUCK = 0.02  # a validation loss this close to the no-learning level, as a share of it, has learnt nothing
SLOW_DATA = 0.5  # share of the time that reading batches may take before the user is told


@dataclass
class Within:
    """How far an epoch has come."""

    epoch: int
    losses: list[float] = field(default_factory=list)  # of the steps that are done
    drawn: dict | None = None  # state of the generator of batches after the last step
    random: dict[str, Tensor] = field(default_factory=dict)  # and of PyTorch's generators
    n_units: int = 0  # since the epoch, or what is left of it, began
    data_s: float = 0.0

    def times(self, seconds: float) -> dict[str, float]:
        """What a row of the history says of time; reading that a thread does meanwhile counts as far as it is waited for."""
        about = {"data_s": self.data_s, "step_s": seconds - self.data_s, "seconds": seconds}
        return about | {"units_s": self.n_units / seconds, "data_share": self.data_s / seconds}

    def speed(self, seconds: float) -> str:
        """The same beside a progress bar."""
        return f"{self.n_units / seconds:.0f} units/s, {self.data_s / seconds:.0%} reading"


def advice(history: pd.DataFrame) -> list[str]:
    """What somebody who watched the run would say."""
    last, said = history.iloc[-1], []
    if last["val_loss"] > (1 - STUCK) * last["no_learning"]:
        said.append(
            f"the validation loss ({last['val_loss']:.2f}) is at the level of a model that sees nothing "
            f"({last['no_learning']:.2f}): look at the texts, the images and the learning rate"
        )
    data_s, step_s = history["data_s"].sum(), history["step_s"].sum()
    if data_s > SLOW_DATA * (data_s + step_s):
        said.append(f"reading batches took {data_s:.0f} s and computing {step_s:.0f} s: the data is the bottleneck")
    return said


def named(rows: Rows) -> str:
    """Some units of a batch, for an error."""
    return f"(units {', '.join(map(str, rows[:4]))}, ...)"
