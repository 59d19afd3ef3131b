"""Prompts for zero-shot: templates for organ, finding, modality and region.

The templates of a state and of its opposite stand in the same order, so that prompt i of one is the counterpart of prompt i
of the other: same words but for the state. Zero-shot compares the two (CT-GLIP, arXiv 2404.15272; the wordings are ours).
"""

NORMAL = "{organ} shows no significant abnormality"  # CT-GLIP's template for an organ without a finding
# what is filled in, and the state: None names a thing, True says that something is there, False that it is not
TEMPLATES = {
    (("organ",), None): ("{organ}", "the {organ}", "a scan of the {organ}", "an image of the {organ}", "this is the {organ}"),
    (("organ",), True): (
        "{organ} shows a significant abnormality", "the {organ} is abnormal", "abnormal {organ}", "abnormality of the {organ}",
        "there is an abnormality of the {organ}", "the {organ} shows disease", "pathological appearance of the {organ}",
    ),
    (("organ",), False): (
        NORMAL, "the {organ} is normal", "normal {organ}", "no abnormality of the {organ}",
        "there is no abnormality of the {organ}", "the {organ} shows no disease", "normal appearance of the {organ}",
    ),
    (("finding",), True): (
        "{finding}", "there is {finding}", "evidence of {finding}", "{finding} is present", "{finding} is seen",
        "findings consistent with {finding}", "the scan shows {finding}", "positive for {finding}",
    ),
    (("finding",), False): (
        "no {finding}", "there is no {finding}", "no evidence of {finding}", "{finding} is absent", "{finding} is not seen",
        "findings not consistent with {finding}", "the scan shows no {finding}", "negative for {finding}",
    ),
    (("finding", "organ"), True): (
        "{finding} in the {organ}", "there is {finding} in the {organ}", "the {organ} shows {finding}", "{organ} with {finding}",
        "evidence of {finding} in the {organ}", "{finding} of the {organ} is seen", "{organ}: {finding}",
    ),
    (("finding", "organ"), False): (
        "no {finding} in the {organ}", "there is no {finding} in the {organ}", "the {organ} shows no {finding}",
        "{organ} without {finding}", "no evidence of {finding} in the {organ}", "{finding} of the {organ} is not seen",
        "{organ}: no {finding}",
    ),
    (("finding", "modality"), True): ("{modality} showing {finding}", "{modality}, {finding}", "{modality} image with {finding}"),
    (("finding", "modality"), False): (
        "{modality} showing no {finding}", "{modality}, no {finding}", "{modality} image without {finding}",
    ),
    (("finding", "modality", "region"), True): (
        "{region} {modality}, {finding}", "{modality} of the {region} showing {finding}",
        "{modality} of the {region} with {finding}",
    ),
    (("finding", "modality", "region"), False): (
        "{region} {modality}, no {finding}", "{modality} of the {region} showing no {finding}",
        "{modality} of the {region} without {finding}",
    ),
    (("label",), None): ("{label}", "an image of {label}", "a medical image of {label}", "this image shows {label}"),
    (("modality",), None): ("{modality}", "{modality} image", "a {modality} scan", "this is a {modality} image"),
    (("region",), None): ("{region}", "the {region}", "a scan of the {region}", "an image of the {region}"),
    (("modality", "region"), None): (
        "{region} {modality}", "{modality} of the {region}", "a {modality} image of the {region}", "a {region} {modality} scan",
    ),
    (("modality", "organ"), None): (
        "{modality} of the {organ}", "{organ} on {modality}", "a {modality} image of the {organ}",
        "the {organ} in a {modality} scan",
    ),
}  # fmt: skip


def ensemble(
    *, organ: str = "", finding: str = "", label: str = "", modality: str = "", region: str = "", present: bool | None = None
) -> list[str]:
    """All prompts for what is given: `present` None names it, True says that it is there, or abnormal, False that it is not.

    "lung" and present=False gives "lung shows no significant abnormality" and its synonyms. Prompt i of True and prompt i of
    False differ in the state only. Raises ValueError for a combination without templates.
    """
    slots = {"finding": finding, "label": label, "modality": modality, "organ": organ, "region": region}
    key = tuple(name for name, value in slots.items() if value), present
    if key not in TEMPLATES:
        known = "; ".join(f"{' + '.join(names)}, present={state}" for names, state in TEMPLATES)
        raise ValueError(f"no prompts for {' + '.join(key[0]) or 'nothing'}, present={present}; there are some for: {known}")
    return [template.format(**slots) for template in TEMPLATES[key]]
