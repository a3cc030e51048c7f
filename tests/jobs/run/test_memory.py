"""Memory of steps: estimated before a run, and refused in a sentence where it doesn't fit."""

import os

import pytest

from tamis.jobs.run.memory import BASE, estimate, refuse_what_does_not_fit
from tamis.jobs.run.plan import make_plan
from tamis.pipeline.steps.registry import parse_config
from tamis.schemas.errors import RunError

MANY = 10**9
"""Documents of a corpus that no machine of ours holds."""


@pytest.fixture
def planned(tmp_path):
    """A plan with one step over a small input, and files for it."""
    (tmp_path / "texts.jsonl").write_text('{"text": "words about rivers"}\n')
    (tmp_path / "hosts.txt").write_text("".join(f"host{i}.example\n" for i in range(200_000)))
    (tmp_path / "words.txt").write_text("".join(f"word{i}\n" for i in range(200_000)))
    item = " ".join(f"w{i}" for i in range(40))
    (tmp_path / "items.jsonl").write_text("".join(f'{{"text": "{item} {i}"}}\n' for i in range(5000)))

    def plan(step):
        known = {"HOSTS": "hosts.txt", "WORDS": "words.txt", "ITEMS": "items.jsonl"}
        (verb, options), *_ = step.items()
        given = {
            option: {name: str(tmp_path / known[path]) if path in known else path for name, path in value.items()}
            if isinstance(value, dict)
            else value
            for option, value in options.items()
        }
        config = {"inputs": [{"path": str(tmp_path / "texts.jsonl"), "source": "web"}], "steps": [{verb: given}]}
        return make_plan(parse_config(config), config)

    return plan


STEPS = {
    "exact_dedup": {"exact_dedup": {}},
    "near_dedup": {"near_dedup": {"preset": "fineweb"}},
    "paragraph_dedup": {"paragraph_dedup": {}},
    "substring_dedup": {"substring_dedup": {}},
    "decontaminate": {"decontaminate": {"items": {"mine": "ITEMS"}}},
    "decontaminate, n-grams": {"decontaminate": {"items": {"mine": "ITEMS"}, "method": "ngrams"}},
    "url_filter": {"url_filter": {"lists": {"bad": "HOSTS"}}},
    "word_lists": {"word_lists": {"lists": {"bar": "WORDS"}}},
}


@pytest.mark.parametrize("case", STEPS)
def test_what_does_not_fit_is_refused_in_a_sentence(planned, monkeypatch, case):
    plan = planned(STEPS[case])
    need = estimate(plan, documents=MANY, text=2000.0 * MANY)
    label = case.partition(",")[0]
    assert need.largest is not None
    assert need.largest[0] == label
    assert need.largest[1] >= 15 << 20
    refuse_what_does_not_fit(need, 1)  # partitions are bounded: this machine holds any corpus
    small = {"SC_PAGE_SIZE": 1, "SC_PHYS_PAGES": BASE}
    monkeypatch.setattr(os, "sysconf", small.__getitem__)
    with pytest.raises(RunError, match=rf"needs about .* GB of memory with 1 workers.*step {label} takes .* GB of it"):
        refuse_what_does_not_fit(need, 1)


def test_forms_of_items_take_memory_too(planned):
    fields = {"items": {"mine": "ITEMS"}, "text": {"mine": "text"}}
    one = estimate(planned({"decontaminate": fields}))
    plan = planned({"decontaminate": fields})
    (step,) = [step for step in plan.steps if step.verb == "decontaminate"]
    several = step.model_copy(update={"text": ("text", "choices", "answer")})
    models = plan.models["decontaminate"]
    assert several.memory(1, models).worker == 3 * step.memory(1, models).worker
    assert one.largest == ("decontaminate", step.memory(1, models).worker)
