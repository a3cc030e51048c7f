import collections
import io
import itertools
import json
from pathlib import Path

import fasttext
import numpy as np
import pyarrow as pa
import pytest
import zstandard

from tamis.schemas.errors import ModelError
from tamis.scorers.base import Scorer
from tamis.scorers.language.identify import DEFAULT_PREFIX, LanguageIdentifier, packaged_model

SAMPLES = {
    "en": "The quick brown fox jumps over the lazy dog, and nobody in the village thinks much of it.",
    "de": "Der Ausschuss hat gestern beschlossen, die Sitzung auf den nächsten Donnerstag zu verschieben.",
    "fr": "Le gouvernement a annoncé hier soir de nouvelles mesures pour les écoles et les hôpitaux.",
    "es": "La biblioteca municipal abrirá también los domingos por la mañana a partir del próximo mes.",
    "ru": "Вчера вечером в городе прошёл сильный дождь, и многие улицы оказались под водой.",
    "zh": "昨天晚上城里下了一场大雨，许多街道都被水淹没了，公共汽车停止运行。",
    "ja": "昨日の夜、町では激しい雨が降り、多くの道路が水に浸かってしまいました。",
    "ko": "어젯밤 도시에 폭우가 내려 많은 거리가 물에 잠겼고 버스 운행이 중단되었습니다.",
    "ar": "هطلت أمطار غزيرة على المدينة مساء أمس وغمرت المياه العديد من الشوارع.",
    "hi": "कल शाम शहर में भारी बारिश हुई और कई सड़कें पानी में डूब गईं।",
    "el": "Χθες το βράδυ έβρεξε πολύ στην πόλη και πολλοί δρόμοι πλημμύρισαν.",
    "th": "เมื่อคืนนี้ฝนตกหนักในเมืองและถนนหลายสายถูกน้ำท่วม",
    "tr": "Dün akşam şehirde şiddetli yağmur yağdı ve birçok sokak sular altında kaldı.",
    "pl": "Wczoraj wieczorem w mieście spadł ulewny deszcz i wiele ulic znalazło się pod wodą.",
    "vi": "Tối qua trong thành phố có mưa lớn và nhiều con đường bị ngập nước.",
}

ODD = [
    "a",
    "http://example.org/?a=b&c=d",
    "before </s> after the end of it",
    "__label__en __label__nothing Guten Tag",
    "nul\0byte and\ttab\rand\fform\vfeed",
    "<>< > </s></s>",
    "😀😃😄 𝕋𝕖𝕩𝕥",
    "x" * 5000,
    "é" * 700 + " " + "日本" * 600,
]


@pytest.fixture(scope="module")
def library():
    return fasttext.load_model(str(packaged_model()))


@pytest.fixture(scope="module")
def whole():
    return LanguageIdentifier(prefix=None)


def test_conforms_to_the_protocol(whole):
    assert isinstance(whole, Scorer)
    batch = whole.score(["Hello", None])
    assert batch.schema.equals(whole.schema)
    assert batch.schema.names == ["language", "language_score"]
    assert whole.score([]).num_rows == 0
    assert whole.score([]).schema.equals(whole.schema)


def test_languages(whole):
    batch = whole.score(list(SAMPLES.values()))
    assert batch.column("language").to_pylist() == list(SAMPLES)
    assert min(batch.column("language_score").to_pylist()) > 0.5
    assert len(whole.languages) == 176
    assert set(SAMPLES) <= set(whole.languages)


def test_equals_the_library(whole, library):
    texts = list(SAMPLES.values()) + ODD
    words = [word for word in " ".join(texts).split(" ") if word and word != "</s>"]
    rng = np.random.default_rng(0)
    texts += [" ".join(rng.choice(words, n)) for n in rng.integers(1, 300, 300)]
    batch = whole.score(texts)
    labels, probabilities = library.predict([text.replace("\n", " ") for text in texts])
    assert batch.column("language").to_pylist() == [row[0].removeprefix("__label__") for row in labels]
    np.testing.assert_allclose(
        batch.column("language_score").to_numpy(),
        np.array([row[0] for row in probabilities]),
        rtol=0,
        atol=1e-6,
    )


@pytest.mark.parametrize("text", ["", " ", "\n\t \r\n", "\0", "</s> after the end"])
def test_no_word_is_undetermined(whole, text):
    batch = whole.score([text, "Hello there, my friend"])
    assert batch.to_pylist()[0] == {"language": "und", "language_score": 0.0}
    assert batch.column("language").to_pylist()[1] == "en"


def test_prefix_counts_characters_from_the_first_word():
    russian, english = SAMPLES["ru"], " and now for something completely different" * 50
    cut = LanguageIdentifier(prefix=len(russian))
    expected = LanguageIdentifier(prefix=None).score([russian])
    assert cut.score([russian + english]).equals(expected)
    assert cut.score(["\n \t" * 1000 + russian + english]).equals(expected)
    long = "слово " * 1000
    assert (
        LanguageIdentifier()
        .score([long + english])
        .equals(LanguageIdentifier(prefix=None).score([long[:DEFAULT_PREFIX]]))
    )


def test_batches_and_forms_do_not_matter(whole):
    texts = list(SAMPLES.values()) + ODD
    together = whole.score(texts)
    one_by_one = pa.Table.from_batches([whole.score([text]) for text in texts]).combine_chunks().to_batches()[0]
    assert together.equals(one_by_one)
    chunked = pa.chunked_array([texts[:5], texts[5:]])
    assert together.equals(whole.score(chunked))
    assert together.slice(3, 4).equals(whole.score(pa.array(texts).slice(3, 4)))


@pytest.mark.devdata
def test_equals_the_library_on_real_documents(whole, library, dev_data):
    with (dev_data / "dev.jsonl.zst").open("rb") as file:
        lines = io.TextIOWrapper(zstandard.ZstdDecompressor().stream_reader(file), encoding="utf-8")
        rows = [json.loads(line) for line in itertools.islice(lines, 0, 40_000)]
    by_language = collections.defaultdict(list)
    for row in rows:
        by_language[row["lang"]].append(row["text"])
    texts = [text for group in by_language.values() for text in group[:60]]
    batch = whole.score(texts)
    labels, probabilities = library.predict([text.replace("\n", " ") for text in texts])
    assert batch.column("language").to_pylist() == [row[0].removeprefix("__label__") for row in labels]
    np.testing.assert_allclose(
        batch.column("language_score").to_numpy(), np.array([row[0] for row in probabilities]), rtol=0, atol=1e-5
    )


def test_missing_model_and_package(tmp_path, monkeypatch):
    with pytest.raises(ModelError, match="there is no fastText model at"):
        LanguageIdentifier(tmp_path / "lid.bin")
    assert packaged_model().name == "lid.176.ftz"
    assert isinstance(packaged_model(), Path)
    monkeypatch.setattr(Path, "is_file", lambda path: False)
    with pytest.raises(ModelError, match="install tamis again"):
        packaged_model()
