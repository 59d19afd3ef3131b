"""From known truth to a report, and from masks to slice captions."""

import re

import numpy as np
from jaxtyping import Integer

from .vocabulary import FINDING_PHRASES, KINDS, ORGANS, REGION_ORGANS, SIDED, SIDES, kind_of
from .wordings import ABNORMAL, DENIAL, INDICATION, N_HELD_OUT, NORMAL, NORMAL_SIDE, SHORT

HELD_OUT_SHARE = 0.35  # of the sentences of a test report
LEFT_OUT_SHARE = 0.3  # of normal organs nothing is written
SHORT_SHARE = 0.6  # of reports without any finding
DENIAL_SHARE = 0.35
CM_SHARE = 0.3  # of sizes are given in cm
AN = re.compile(r"\ba (?=(?:8\d?|11|18)(?:\.\d)? [mc]m)")  # an 18 mm nodule
MAX_IMPRESSIONS = 4
NUMBERS = ("a", "two", "three", "four", "five", "six")
VOLUMES = {"mild": "small", "moderate": "moderate", "severe": "large"}
DEPTHS_MM = {"pleural effusion": (30.0, 48.0), "pericardial effusion": (10.0, 12.5)}  # small | moderate | large


def finding_phrase(finding: dict) -> str:
    """ "hepatic cyst" of a finding; left and right have the same phrase."""
    return FINDING_PHRASES[kind_of(finding["organ"]), finding["finding"]]


def caption(region: str, phrase: str = "") -> str:
    """ "Chest CT, lung nodule"; "Abdomen CT" without a finding."""
    return f"{region.capitalize()} CT" + (f", {phrase}" if phrase else "")


def slice_captions(
    organs: Integer[np.ndarray, "slice row column"],
    lesions: Integer[np.ndarray, "slice row column"],
    findings: list[dict],
) -> list[tuple[str, list[str], list[int]]]:
    """For each slice its region, the organs in it, and which of `findings` it shows.

    The region is the one whose organs have most pixels (a tie goes upwards, none at all is abdomen). A finding is shown where
    it has at least min(4, max(1, a third of its largest slice)) pixels.
    """
    regions = list(REGION_ORGANS)
    pixels = np.stack([np.bincount(s.ravel(), minlength=len(ORGANS) + 1) for s in organs])
    by_region = np.stack([pixels[:, [ORGANS[n] for n in names]].sum(1) for names in REGION_ORGANS.values()], 1)
    which = np.where(by_region.any(1), by_region.argmax(1), regions.index("abdomen"))
    per_finding = [(lesions == f["label"]).sum((1, 2)) for f in findings]
    shown = [n >= min(4, max(1, n.max() / 3)) for n in per_finding]
    names = list(ORGANS)
    return [
        (regions[w], [names[k] for k in np.flatnonzero(pixels[z, 1 : len(names) + 1])], [i for i, s in enumerate(shown) if s[z]])
        for z, w in enumerate(which)
    ]


def write_report(findings: list[dict], rng: np.random.Generator, *, held_out: bool = False) -> str:
    """INDICATION, FINDINGS and IMPRESSION. Each finding is mentioned, nothing else is.

    With `held_out` (test reports) some sentences use wordings that no other report has.
    """
    indication = INDICATION[rng.integers(len(INDICATION))]
    if not findings and rng.random() < SHORT_SHARE:
        text = SHORT[rng.integers(len(SHORT))]
        return f"INDICATION: {indication}\n\nFINDINGS: {text}\n\nIMPRESSION: {text}"
    sentences = [abnormal_sentence(f, rng, held_out=held_out) for f in findings]
    sentences += [_choose(table, rng, held_out).format(side=side) for table, side in _normal_tables(findings, rng)]
    order = rng.permutation(len(sentences))
    body = " ".join(_capital(sentences[i]) for i in order) or SHORT[0]
    return f"INDICATION: {indication}\n\nFINDINGS: {body}\n\nIMPRESSION: {impression(findings)}"


def abnormal_sentence(finding: dict, rng: np.random.Generator, *, held_out: bool) -> str:
    """One finding in one of its wordings, with place, size, number and severity filled in."""
    wording = _choose(ABNORMAL[kind_of(finding["organ"]), finding["finding"]], rng, held_out)
    text = wording.format(**_slots(finding, in_cm=rng.random() < CM_SHARE))
    return AN.sub("an ", text)


def impression(findings: list[dict]) -> str:
    """The first few findings by name."""
    if not findings:
        return "No acute abnormality."
    named = dict.fromkeys(f"{f['side']} {finding_phrase(f)}".strip() for f in findings)
    return " ".join(_capital(f"{name}.") for name in list(named)[:MAX_IMPRESSIONS])


def place_phrase(finding: dict) -> str:
    """Place with its article: "the left upper lobe", "segment VI of the liver", "the right kidney"."""
    organ, side, place = kind_of(finding["organ"]), finding["side"], finding["place"]
    if organ == "lung":
        return f"the {side} {place or 'lung'}"
    if organ == "kidney":
        return f"the {place} of the {side} kidney" if place else f"the {side} kidney"
    if organ == "liver":
        return f"{place} of the liver" if place else "the liver"
    adjective = {"pancreas": "pancreatic "}.get(organ, "")
    return f"the {adjective}{place}" if adjective and place else f"the {place} {organ}".replace("  ", " ")


def _slots(finding: dict, *, in_cm: bool) -> dict[str, str]:
    count, mm = finding["count"], finding["size_mm"]
    return {
        "where": place_phrase(finding), "side": finding["side"], "upto": "up to " if count > 1 else "",
        "size": f"{mm / 10:.1f} cm" if in_cm else f"{mm:.0f} mm", "n": NUMBERS[count - 1],
        "one": "one" if count == 1 else NUMBERS[count - 1], "s": "s" if count > 1 else "", "is": "es" if count > 1 else "is",
        "sev": finding["severity"], "vol": _volume(finding),
    }  # fmt: skip


def _volume(finding: dict) -> str:
    low, high = DEPTHS_MM.get(finding["finding"], (0.0, 0.0))
    return ("small", "moderate", "large")[(finding["size_mm"] > low) + (finding["size_mm"] > high)]


def _normal_tables(findings: list[dict], rng: np.random.Generator):
    """(wordings, side) of each thing that is said to be normal; never of something that is not."""
    sick = {f["organ"] for f in findings}
    present = {(kind_of(f["organ"]), f["finding"]) for f in findings}
    for organ, table in NORMAL.items():
        affected = [s for s in SIDES if f"{organ}_{s}" in sick] if organ in SIDED else [""] * (organ in sick)
        if not affected and rng.random() >= LEFT_OUT_SHARE:
            yield table, ""
        if organ in SIDED and len(affected) == 1 and rng.random() >= LEFT_OUT_SHARE:
            yield NORMAL_SIDE[organ], SIDES[1 - SIDES.index(affected[0])]
        denied = [pair for pair in KINDS if pair[0] == organ and affected and pair in DENIAL and pair not in present]
        yield from ((DENIAL[pair], "") for pair in denied if rng.random() < DENIAL_SHARE)


def _choose(table: tuple[str, ...], rng: np.random.Generator, held_out: bool) -> str:
    n_common = len(table) - N_HELD_OUT
    if held_out and rng.random() < HELD_OUT_SHARE:
        return table[n_common + rng.integers(N_HELD_OUT)]
    return table[rng.integers(n_common)]


def _capital(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]
