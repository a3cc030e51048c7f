import pickle
from pathlib import Path

import pytest

from tamis.schemas.errors import ConfigError, ModelError
from tamis.scorers.mixture.document_tokenizer import DocumentTokenizer

tokenizers = pytest.importorskip("tokenizers")
TEXTS = ["one two three", "", "naïve ☃", "three"]


def word_tokenizer(folder: Path, *, added: list[str] | None = None, template: bool = False) -> Path:
    """A tokenizer of a few words, perhaps with added tokens, perhaps one that adds ends by itself."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    made = Tokenizer(models.WordLevel({"[UNK]": 0, "one": 1, "two": 2, "three": 3}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.add_special_tokens(added or [])
    if template:
        made.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 4)])
    path = folder / "tokenizer.json"
    made.save(str(path))
    return path


def test_bytes() -> None:
    made = DocumentTokenizer("bytes")
    assert (made.vocabulary, made.end) == (257, 256)
    assert [row.tolist() for row in made.documents(TEXTS)] == [list(text.encode()) for text in TEXTS]
    assert made.counts(TEXTS).tolist() == [14, 0, 11, 6]
    assert pickle.loads(pickle.dumps(made)).digest == made.digest


def test_a_tokenizer_without_ends_gets_them_counted(tmp_path: Path) -> None:
    path = word_tokenizer(tmp_path, added=["</s>", "<extra>"])
    made = DocumentTokenizer(str(path))
    assert (made.vocabulary, made.end) == (6, 4)  # the added tokens are counted
    assert made.counts(TEXTS).tolist() == [4, 0, 3, 2]
    assert DocumentTokenizer(str(tmp_path)).digest == made.digest  # the folder means the file in it
    assert DocumentTokenizer(str(path), end="<extra>").end == 5
    assert DocumentTokenizer(str(path), end="<extra>").digest != made.digest


def test_ends_that_a_tokenizer_adds_are_not_counted_twice(tmp_path: Path) -> None:
    path = str(word_tokenizer(tmp_path, added=["</s>"], template=True))
    plain, special = DocumentTokenizer(path), DocumentTokenizer(path, special_tokens=True)
    assert [row.tolist() for row in plain.documents(["one two"])] == [[1, 2]]
    assert [row.tolist() for row in special.documents(["one two"])] == [[1, 2, 4]]
    assert plain.counts(["one two"]).tolist() == special.counts(["one two"]).tolist() == [3]


def test_mistakes(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="there is no file"):
        DocumentTokenizer(str(tmp_path / "none.json"))
    path = word_tokenizer(tmp_path)
    with pytest.raises(ConfigError, match="name it with `end`"):
        _ = DocumentTokenizer(str(path)).end
    with pytest.raises(ConfigError, match="no token '<eos>'"):
        _ = DocumentTokenizer(str(path), end="<eos>").end
    (tmp_path / "broken.json").write_text("{")
    with pytest.raises(ModelError, match="isn't a tokenizer"):
        _ = DocumentTokenizer(str(tmp_path / "broken.json")).vocabulary
