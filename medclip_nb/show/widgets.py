"""Things to move and click, on ipywidgets; each carries a still picture for pages where no kernel runs."""

import io

import numpy as np
from jaxtyping import UInt8

from .pictures import contact_sheet

N_STILL = 12  # slices of the still picture
VIEW_PX = 320  # width of the moving picture


class SliceViewer:
    """A volume to scroll through: a slider over slices and one over channels (windows).

    Shown by a live kernel it moves; in a saved notebook or a report it is a picture of evenly spaced slices.
    `volume` is 0 to 255, its slices run upwards; `height` is a pixel's height over its width.
    """

    def __init__(
        self, volume: UInt8[np.ndarray, "channel slice row column"], *, channels: list[str], height: float = 1.0, start: int = 0
    ):
        self.volume, self.channels, self.height, self.start = volume, channels, height, start

    def still(self):
        """Evenly spaced slices of the first channel shown, from the lowest upwards, as a figure."""
        n = self.volume.shape[1]
        numbers = np.unique(np.linspace(0, n - 1, N_STILL + 2).round().astype(int)[1:-1])
        name = self.channels[self.start]
        return contact_sheet(self.volume[self.start, numbers], [f"slice {k + 1} of {n}, {name}" for k in numbers])

    def live(self):
        """The ipywidgets box."""
        import ipywidgets as widgets

        n = self.volume.shape[1]
        which = widgets.IntSlider(n // 2 + 1, 1, n, description=f"slice of {n}", continuous_update=True)
        channel = widgets.Dropdown(options=[(name, i) for i, name in enumerate(self.channels)], value=self.start)
        picture = widgets.Image(value=self._png(n // 2, self.start), format="png", width=VIEW_PX)

        def show(_) -> None:
            picture.value = self._png(which.value - 1, channel.value)

        which.observe(show, "value")
        channel.observe(show, "value")
        return widgets.VBox([widgets.HBox([which, channel]), picture])

    def _png(self, number: int, channel: int) -> bytes:
        from PIL import Image

        plane, file = self.volume[channel, number], io.BytesIO()
        size = (VIEW_PX, round(VIEW_PX * self.height * plane.shape[0] / plane.shape[1]))
        Image.fromarray(plane).resize(size, Image.Resampling.NEAREST).save(file, "png")
        return file.getvalue()

    def _repr_mimebundle_(self, **_) -> dict:
        import matplotlib.pyplot as plt

        figure, file = self.still(), io.BytesIO()
        figure.savefig(file, format="png")
        plt.close(figure)
        return {"image/png": file.getvalue(), "text/plain": "slices of a volume"} | self.live()._repr_mimebundle_()
