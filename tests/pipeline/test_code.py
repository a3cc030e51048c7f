"""The digests of code: what can change a result changes them, a word in the command line or the report doesn't."""

import pytest

from tamis.pipeline import code
from tamis.pipeline.steps.exact_dedup import ExactDedupStep
from tamis.pipeline.steps.language import LanguageStep


@pytest.fixture
def changed(monkeypatch):
    """Return a function that digests a module as if another module's text were changed."""
    caches = (code._content, code._imports, code.module_code)

    def forget():
        for cache in caches:
            cache.cache_clear()

    def digest(of, module):
        content = code._content.__wrapped__
        forget()
        with monkeypatch.context() as patch:
            patch.setattr(code, "_content", lambda name: content(name) + (b"# x" if name == module else b""))
            found = code.module_code.__wrapped__(of)
        forget()
        return found

    yield digest
    forget()


READ, SCORE = "tamis.pipeline.passes.read", "tamis.pipeline.passes.annotate"
LANGUAGE = "tamis.pipeline.steps.language"


@pytest.mark.parametrize(
    ("of", "module"),
    [
        (READ, READ),
        (READ, "tamis.pipeline.formats.jsonl"),
        (READ, "tamis.scorers.extraction.html"),
        (READ, "tamis.scorers.extraction.trafilatura_child"),
        (READ, "tamis.scorers.text.identity"),
        (LANGUAGE, LANGUAGE),
        (LANGUAGE, "tamis.scorers.language.identify"),
        (LANGUAGE, "tamis.scorers.fasttext.output_kernels"),
        (LANGUAGE, "tamis.scorers.kernels.jit"),
        (SCORE, "tamis.pipeline.passes.guard"),
    ],
)
def test_what_can_change_a_result_counts(changed, of, module):
    assert changed(of, module) != code.module_code(of)


@pytest.mark.parametrize("of", [READ, SCORE, LANGUAGE])
@pytest.mark.parametrize(
    "module",
    [
        "tamis.jobs.cli.funnel",
        "tamis.jobs.run.accounting",
        "tamis.jobs.manifest.compare",
        "tamis.jobs.api",
        "tamis.scorers.testing",
    ],
)
def test_the_command_line_and_the_report_do_not(changed, of, module):
    assert changed(of, module) == code.module_code(of)


def test_each_step_has_code_of_its_own(changed):
    assert changed(LANGUAGE, "tamis.scorers.dedup.text_hash") == code.module_code(LANGUAGE)
    assert code.step_code(LanguageStep()) != code.step_code(ExactDedupStep())


def test_versions_of_packages_count(monkeypatch):
    before = code.module_code(READ)
    code.module_code.cache_clear()
    monkeypatch.setattr(code, "package_versions", lambda: {"resiliparse": "99"})
    assert code.module_code(READ) != before
    monkeypatch.undo()
    code.module_code.cache_clear()
