"""A volume to scroll through, with outlines to switch on and the weights of its slices below."""

import matplotlib.pyplot as plt
import numpy as np
from jaxtyping import Bool, UInt8
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from scipy.ndimage import binary_erosion

from .organs import LOOKS, _edge
from .pictures import contact_sheet
from .stacks import weights_figure
from .weight_strip import Strip, strip_svg
from .widget_parts import NOTE, TRACK_PX, both_forms, fill, image_html, plain, refuse_nan, slider

N_STILL, N_WEIGHED = 12, 10  # slices of the still picture, without and with weights
VIEW_PX = 384  # width of the moving picture
LINE_PX, DASH_PX = 2, 8  # of an outline, on the moving picture


class SliceViewer:
    """A volume to scroll through: slice, channel (window), outlines, and a strip of slice weights.

    Shown by a live kernel it moves; in a saved notebook or a report it is a picture of some slices. `volume` is 0 to 255, its
    slices run upwards, the image's left is the patient's right; `height` is a pixel's height over its width; `start` is the
    channel shown first. `outlines` are masks of the volume by name. Raises ValueError for what does not fit the volume.
    """

    def __init__(
        self,
        volume: UInt8[np.ndarray, "channel slice row column"],
        *,
        channels: list[str],
        height: float = 1.0,
        start: int = 0,
        outlines: dict[str, Bool[np.ndarray, "_ _ _"]] | None = None,
        strip: Strip | None = None,
    ):
        self.volume, self.channels, self.height, self.start = volume, channels, height, start
        self.outlines, self.strip = outlines or {}, strip
        self.looks = dict(zip(self.outlines, LOOKS, strict=False))
        _check(self)

    def still(self) -> Figure:
        """Slices of the first channel shown, from the lowest upwards: evenly spaced, or around those that show what is sought."""
        numbers, name = self._numbers(), self.channels[self.start]
        planes, n = self.volume[self.start, numbers], self.volume.shape[1]
        if self.strip:
            shows, title = self.strip.shows, f"{name} window; an orange frame marks the slices that show it"
            figure = weights_figure(planes, np.array(numbers), self.strip.weights, shows, title=title)
            axes = figure.subfigs[0].axes
        else:
            figure = contact_sheet(planes, [f"slice {k + 1} of {n}" for k in numbers])
            figure.suptitle(f"{name} window", fontsize=10, x=0.01, ha="left")
            axes = [axis for axis in figure.axes if axis.images]
        for axis, number in zip(axes, numbers, strict=True):
            for outline, (colour, line) in self.looks.items():
                _edge(axis, self.outlines[outline][number], colors=colour, linestyles=line, linewidths=1.2)
        lines = [Line2D([], [], color=c, linestyle=line, linewidth=2, label=name) for name, (c, line) in self.looks.items()]
        if lines:
            figure.legend(handles=lines, loc="outside lower center", ncols=6, fontsize=9, frameon=False)
        plt.close(figure)  # or a notebook would draw it beside the widget
        return figure

    def live(self):
        """The ipywidgets box: window, weights, outlines, picture, slice, strip, and a line that says what is seen."""
        import ipywidgets as widgets

        which, window, given, switches = self._controls()
        picture, strip, said = widgets.HTML(), widgets.HTML(), widgets.HTML()

        def show(_=None) -> None:
            number, seen = which.value - 1, [name for name, switch in switches.items() if switch.value]
            words = self._say(number, window.value, seen, given.value)
            fill(picture, lambda: self._picture(number, window.value, seen, words))
            fill(strip, lambda: self._strip(number, given.value))
            fill(said, lambda: f'<p aria-live="polite" style="{NOTE};max-width:{VIEW_PX + 40}px">{plain(words)}</p>')

        for control in (which, window, given, *switches.values()):
            control.observe(show, "value")
        show()
        keys = [widgets.HBox([_swatch(*self.looks[name]), switch]) for name, switch in switches.items()]
        legend = widgets.Box(keys, layout={"flex_flow": "row wrap", "max_width": f"{VIEW_PX + 200}px"})
        rows = [widgets.HBox([window, given] if self.strip else [window]), legend, picture, which, strip, said]
        return widgets.VBox(rows).add_class("medclip-slice-viewer")

    def frame(self, number: int, channel: int, seen: list[str]) -> UInt8[np.ndarray, "row column 3"]:
        """One slice (from 0) as the moving form draws it, VIEW_PX wide, with the outlines of `seen`."""
        from PIL import Image

        plane = self.volume[channel, number]
        size = (VIEW_PX, round(VIEW_PX * self.height * plane.shape[0] / plane.shape[1]))
        enlarged = lambda array: np.asarray(Image.fromarray(array).resize(size, Image.Resampling.NEAREST))  # noqa: E731
        rgb = np.repeat(enlarged(plane)[..., None], 3, axis=2)
        dashes = np.add.outer(np.arange(size[1]), np.arange(size[0])) // DASH_PX % 2 == 0
        for name in seen:
            colour, line = self.looks[name]
            mask = enlarged(self.outlines[name][number].astype(np.uint8)) > 0
            core = binary_erosion(mask, iterations=LINE_PX)
            rgb[mask & ~binary_erosion(core)] = 0  # a dark rim: light colours are lost on bone
            rgb[mask & ~core & (dashes | (line == "-"))] = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
        return rgb

    def _controls(self) -> tuple:
        """Slider, window, which weights, and a switch for each outline."""
        n = self.volume.shape[1]
        first = int(np.flatnonzero(self.strip.shows).mean()) if self.strip and self.strip.shows.any() else n // 2
        which = slider("slice", first + 1, n, readout=False)
        window = _choice("window", self.channels, self.start)
        given = _choice("weights of", list(self.strip.weights) if self.strip else [], 0)
        return which, window, given, {name: _switch(name) for name in self.looks}

    def _picture(self, number: int, channel: int, seen: list[str], words: str) -> str:
        rgb = self.frame(number, channel, seen)
        image = image_html(rgb, alt=words, width=VIEW_PX, height=len(rgb))
        side = '<b title="the patient\'s {}" style="padding:0 4px">{}</b>'.format
        return f'<div style="display:flex;align-items:center">{side("right", "R")}{image}{side("left", "L")}</div>'

    def _say(self, number: int, channel: int, seen: list[str], given: int | None) -> str:
        words = [f"Slice {number + 1} of {self.volume.shape[1]}, {self.channels[channel]}"]
        if seen:
            words.append(f"outlined here: {', '.join(name for name in seen if self.outlines[name][number].any()) or 'nothing'}")
        if self.strip:
            name, weights = list(self.strip.weights.items())[given]
            words.append(f"weight by {name.replace('_', ' ')} {weights[number]:.3f}, equal weights {1 / len(weights):.3f}")
            words.append("this slice shows it" if self.strip.shows[number] else "this slice does not show it")
        return "; ".join(words) + "."

    def _strip(self, number: int, given: int | None) -> str:
        return strip_svg(self.strip, list(self.strip.weights)[given], number, track=TRACK_PX) if self.strip else ""

    def _numbers(self) -> list[int]:
        """Slices of the still picture."""
        n = self.volume.shape[1]
        if not self.strip:
            return np.unique(np.linspace(0, n - 1, N_STILL + 2).round().astype(int)[1:-1]).tolist()
        middle = int(np.flatnonzero(self.strip.shows).mean()) if self.strip.shows.any() else n // 2
        first = min(max(0, middle - N_WEIGHED // 2), max(0, n - N_WEIGHED))
        return list(range(first, min(n, first + N_WEIGHED)))

    def _repr_mimebundle_(self, **_) -> dict:
        return both_forms(self.still(), self.live())


def _check(viewer: SliceViewer) -> None:
    grid, n_channels, n = viewer.volume.shape[1:], len(viewer.volume), viewer.volume.shape[1]
    if len(viewer.channels) != n_channels or not 0 <= viewer.start < n_channels:
        raise ValueError(f"{len(viewer.channels)} names for {n_channels} channels, start {viewer.start}: name each, start at one")
    if len(viewer.outlines) > len(LOOKS):
        raise ValueError(f"{len(viewer.outlines)} outlines cannot be told apart; choose at most {len(LOOKS)}")
    for name, mask in viewer.outlines.items():
        if mask.shape != grid:
            raise ValueError(f"outline {name!r} is {mask.shape}, the volume {grid}: bring it to the volume's grid")
    for name, values in ({**viewer.strip.weights, "shows": viewer.strip.shows} if viewer.strip else {}).items():
        if values.shape != (n,):
            raise ValueError(f"strip {name!r} has shape {values.shape}, the volume {n} slices: give one value for each")
        refuse_nan(f"strip {name!r}", values)


def _choice(what: str, names: list[str], start: int):
    import ipywidgets as widgets

    options = [(name.replace("_", " "), k) for k, name in enumerate(names)]
    about = {"description": what, "tooltip": f"choose: {what}", "style": {"description_width": "initial"}}
    return widgets.Dropdown(options=options, value=start if options else None, layout={"width": "auto"}, **about)


def _swatch(colour: str, line: str):
    import ipywidgets as widgets

    look = f"display:inline-block;width:18px;margin-right:4px;border-bottom:3px {'solid' if line == '-' else 'dashed'} {colour}"
    return widgets.HTML(f'<span style="{look}"></span>')


def _switch(name: str):
    import ipywidgets as widgets

    about = {"description": name, "indent": False, "tooltip": f"outline {name}"}
    return widgets.Checkbox(True, layout={"width": "auto", "margin": "0 14px 0 0"}, **about)
