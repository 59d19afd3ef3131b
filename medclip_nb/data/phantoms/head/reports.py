"""From what can be seen on a sequence to a report of it."""

import numpy as np

from . import wordings as W
from .vocabulary import BOTH, OEDEMA, SEQUENCES, SYSTEMS

HELD_OUT_SHARE = 0.35  # of the sentences of a test report
LEFT_OUT_SHARE = 0.5  # of normal parts nothing is written
SHORT_SHARE = 0.6  # of reports without any finding
DENIAL_SHARE = 0.3
CM_SHARE = 0.3  # of sizes are given in cm
NOTHING = "No abnormality on this sequence."


def write_reports(found: dict[str, list[dict]], rng: np.random.Generator, *, held_out: bool = False) -> dict[str, str]:
    """A report for each sequence from its findings, all with one indication.

    Each finding is mentioned, nothing else is; what is denied is nowhere in the study. With `held_out` (test reports) some
    sentences use wordings that no other report has.
    """
    kinds = {f["kind"] for findings in found.values() for f in findings}
    indication = W.INDICATION[rng.integers(len(W.INDICATION))]
    texts = {}
    for sequence in SEQUENCES:
        body, impression = _body(found[sequence], _deniable(sequence, found[sequence], kinds), rng, held_out)
        head = f"INDICATION: {indication}\n\nTECHNIQUE: Axial {sequence}."
        texts[sequence] = f"{head}\n\nFINDINGS: {body}\n\nIMPRESSION: {impression}"
    return texts


def abnormal_sentence(finding: dict, rng: np.random.Generator, *, held_out: bool) -> str:
    """One finding in one of its wordings: place and signal, shape and size."""
    shape, tone = (finding["signal"].split() + [""])[:2]
    state = "surrounding" if finding["kind"] == OEDEMA else shape if finding["kind"] in SYSTEMS else tone
    wording = _choose(W.ABNORMAL[state], rng, held_out)
    mm, in_cm = finding["size_mm"], rng.random() < CM_SHARE
    size = f"{mm / 10:.1f} cm" if in_cm else f"{mm:.0f} mm"
    return wording.format(where=place_phrase(finding, rng), shape=shape, tone=tone, size=size)


def place_phrase(finding: dict, rng: np.random.Generator) -> str:
    """ "the left thalamus", "the frontal region on the right"; empty for what has no side."""
    if not finding["side"]:
        return ""
    forms, names = W.WHERE_BILATERAL if finding["side"] == BOTH else W.WHERE, W.CALLED[finding["place"]]
    return forms[rng.integers(len(forms))].format(side=finding["side"], place=names[rng.integers(len(names))])


def _body(findings: list[dict], deniable: list[str], rng: np.random.Generator, held_out: bool) -> tuple[str, str]:
    """Findings and impression."""
    if not findings and rng.random() < SHORT_SHARE:
        text = W.SHORT[rng.integers(len(W.SHORT))]
        return text, text
    said = [abnormal_sentence(f, rng, held_out=held_out) for f in findings]
    said += [_choose(W.NORMAL[part], rng, held_out) for part in _normal_parts(findings) if rng.random() >= LEFT_OUT_SHARE]
    said += [_choose(W.DENIAL[kind], rng, held_out) for kind in deniable if rng.random() < DENIAL_SHARE]
    body = " ".join(_capital(said[i]) for i in rng.permutation(len(said))) or W.SHORT[0]
    named = [f for f in findings if f["kind"] != OEDEMA]  # it belongs to its tumour
    read = [_choose(W.IMPRESSION[f["kind"]], rng, held_out).format(where=place_phrase(f, rng)) for f in named]
    return body, " ".join(map(_capital, read)) or NOTHING


def _normal_parts(findings: list[dict]) -> list[str]:
    sick = {f["place"] for f in findings}
    return [part for part, places in W.NORMAL_PLACES.items() if not sick & set(places)]


def _deniable(sequence: str, findings: list[dict], kinds: set[str]) -> list[str]:
    """What is nowhere in the study; restricted diffusion only on DWI, where nothing is bright."""
    present = kinds | ({"midline shift"} if "tumour" in kinds else set())
    bright = sequence != "DWI" or any(" high " in f["signal"] or " mixed " in f["signal"] for f in findings)
    return [kind for kind in W.DENIAL if kind not in present and not (kind == "acute infarct" and bright)]


def _choose(table: tuple[str, ...], rng: np.random.Generator, held_out: bool) -> str:
    n_common = len(table) - W.N_HELD_OUT
    if held_out and rng.random() < HELD_OUT_SHARE:
        return table[n_common + rng.integers(W.N_HELD_OUT)]
    return table[rng.integers(n_common)]


def _capital(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]
