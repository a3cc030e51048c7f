"""What is said of YAML that YAML doesn't take as it was meant."""

import pytest

from tamis.jobs.config_file import read_yaml
from tamis.schemas.errors import ConfigError

PATHS = (
    "lm/{language}", "{language}", "hf://a/b-{language}@1", "s3://bucket/{x,y}/part.jsonl", "${HOME}/x", "../${A}/{b}",
)  # fmt: skip
SIGNS = ("*.jsonl", "**/*.jsonl", "@files.txt", "*[0-9].jsonl", "%temp%/x")


@pytest.mark.parametrize("path", [*PATHS, *SIGNS])
def test_a_path_that_needs_quotes_in_braces_is_shown_with_them(path: str) -> None:
    if path == "{language}":
        assert read_yaml("a: {model: {language}}", "c.yaml") == {"a": {"model": {"language": None}}}
        return
    for text in (f"steps:\n  - x: {{n: 1, model: {path}, m: 2}}", f"inputs: [{{path: {path}}}]"):
        with pytest.raises(ConfigError) as found:
            read_yaml(text, "c.yaml")
        assert f"put quotes around it, '{path}'" in str(found.value)
        assert str(found.value).startswith("c.yaml: line ")
        assert "\n" not in str(found.value)
        assert path in repr(read_yaml(text.replace(path, f"'{path}'"), "c.yaml"))


@pytest.mark.parametrize("path", SIGNS)
def test_a_path_that_needs_quotes_anywhere(path: str) -> None:
    with pytest.raises(ConfigError, match="put quotes around it"):
        read_yaml(f"inputs:\n  - path: {path}\n    source: a\n", "c.yaml")


def test_tabs() -> None:
    with pytest.raises(ConfigError, match=r"c\.yaml: line 2, column 1: .*: indent with blanks"):
        read_yaml("inputs:\n\t- path: a\n", "c.yaml")


@pytest.mark.parametrize(
    "text", ["a: b: c", "a: 'x", "a: [1, 2", "a: {b: 1", "- a\nb: 1", "{", "\0", "a: \x01", "a: !x y"]
)
def test_other_mistakes_get_no_wrong_advice(text: str) -> None:
    with pytest.raises(ConfigError) as found:
        read_yaml(text, "c.yaml")
    assert "quotes" not in str(found.value)
