"""Prompts are complete, paired and distinct."""

from string import Formatter

import pytest

from medclip_nb.text.prompts import TEMPLATES, ensemble

STATES = [names for names, state in TEMPLATES if state is True]


@pytest.mark.parametrize("key", TEMPLATES, ids=str)
def test_each_template_uses_all_that_is_given_and_is_there_once(key):
    for template in TEMPLATES[key]:
        assert {name for _, name, _, _ in Formatter().parse(template) if name} == set(key[0])
    assert len({t.lower() for t in TEMPLATES[key]}) == len(TEMPLATES[key]) >= 3


@pytest.mark.parametrize("names", STATES, ids=str)
def test_each_state_has_its_opposite_prompt_by_prompt(names):
    there, absent = (TEMPLATES[names, state] for state in (True, False))
    assert len(there) == len(absent)
    assert not set(there) & set(absent)


def test_negative_prompts_deny_and_positive_ones_do_not():
    denial = {"no", "not", "without", "absent", "normal", "negative"}
    for (_, state), templates in TEMPLATES.items():
        assert all(bool(denial & set(t.replace(",", "").split())) == (state is False) for t in templates)


def test_a_normal_organ_is_told_in_ct_glips_words_first():
    assert ensemble(organ="liver", present=False)[0] == "liver shows no significant abnormality"


def test_slots_are_filled():
    assert "no cyst in the left kidney" in ensemble(organ="left kidney", finding="cyst", present=False)
    assert ensemble(modality="CT", region="chest")[0] == "chest CT"
    assert ensemble(modality="CT", region="chest", finding="nodule", present=True)[0] == "chest CT, nodule"
    assert "{x}" in ensemble(organ="{x}")


@pytest.mark.parametrize(
    "given", [{}, {"finding": "cyst"}, {"organ": "liver", "region": "chest"}, {"modality": "CT", "present": True}]
)
def test_what_has_no_templates_is_refused_with_a_list_of_what_has(given):
    with pytest.raises(ValueError, match=r"no prompts for .*, present=.*; there are some for: organ, present=None; "):
        ensemble(**given)
