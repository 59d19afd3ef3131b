"""Things to move: each has a still form, and the moving form shows what it is asked for."""

import io

import numpy as np
from PIL import Image

from medclip_nb.show.widgets import SliceViewer

VOLUME = np.random.default_rng(0).integers(0, 255, (2, 20, 16, 8)).astype(np.uint8)


def pixels(widget) -> np.ndarray:
    picture = Image.open(io.BytesIO(widget.children[1].value))
    return np.asarray(picture.resize((8, 16), Image.Resampling.NEAREST))


def test_the_sliders_choose_slice_and_channel():
    box = SliceViewer(VOLUME, channels=["lung", "bone"]).live()
    which, channel = box.children[0].children
    assert np.array_equal(pixels(box), VOLUME[0, 10])
    which.value, channel.value = 4, 1
    assert np.array_equal(pixels(box), VOLUME[1, 3])
    assert (which.min, which.max) == (1, 20)


def test_a_page_without_a_kernel_gets_a_picture():
    bundle = SliceViewer(VOLUME, channels=["lung", "bone"], start=1)._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in bundle
    assert Image.open(io.BytesIO(bundle["image/png"])).size[0] > 200


def test_the_still_shows_evenly_spaced_slices_upwards():
    figure = SliceViewer(VOLUME, channels=["lung", "bone"]).still()
    titles = [a.get_title() for a in figure.axes if a.images]
    numbers = [int(t.split()[1]) for t in titles]
    assert numbers == sorted(numbers)
    assert len(titles) == 12
    first = next(a for a in figure.axes if a.images)
    assert np.array_equal(first.images[0].get_array(), VOLUME[0, numbers[0] - 1])


def test_a_volume_of_one_slice_works():
    assert len(SliceViewer(VOLUME[:, :1], channels=["a", "b"]).still().axes) == 1
    SliceViewer(VOLUME[:, :1], channels=["a", "b"]).live()
