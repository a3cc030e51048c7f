import random
import struct

import fasttext
import numpy as np
import pytest

from tamis.schemas.errors import ModelError
from tamis.scorers.fasttext.format import DenseMatrix, QuantisedMatrix, read_fasttext
from tamis.scorers.fasttext.model import FastTextModel

TEXT = "".join(f"__label__{'ab'[i % 2]} w{i} w{i * i % 401} w{i * 7 % 300} naïve 山\n" for i in range(400))


@pytest.fixture(scope="module")
def train_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("format") / "train.txt"
    path.write_text(TEXT)
    return path


def train(train_file, name, quantisation=None, **options):
    options = {"dim": 6, "bucket": 300, "wordNgrams": 2, "epoch": 2, "thread": 1, "verbose": 0} | options
    model = fasttext.train_supervised(str(train_file), **options)
    if quantisation is not None:
        model.quantize(input=str(train_file), verbose=0, **quantisation)
    path = train_file.parent / name
    model.save_model(str(path))
    return path, model


@pytest.fixture(scope="module")
def plain(train_file):
    return train(train_file, "plain.bin")


@pytest.fixture(scope="module")
def quantised(train_file):
    return train(train_file, "pruned.ftz", {"cutoff": 300, "qnorm": True, "dsub": 4}, minn=2, maxn=3, loss="hs")


def test_parts_of_a_model(plain):
    path, library = plain
    model = read_fasttext(path)
    assert (model.dim, model.loss, model.word_ngrams, model.bucket, model.minn, model.maxn) == (
        6,
        "softmax",
        2,
        300,
        0,
        0,
    )
    assert list(model.labels) == library.get_labels()
    assert model.label_counts.tolist() == [200, 200]
    assert model.n_words == len(library.get_words())
    assert model.pruned is None
    assert isinstance(model.input, DenseMatrix)
    np.testing.assert_array_equal(model.input.dense(0, model.input.shape[0]), library.get_input_matrix())
    np.testing.assert_array_equal(model.output.dense(0, 2), library.get_output_matrix())


def test_parts_of_a_quantised_model(quantised):
    path, library = quantised
    model = read_fasttext(path)
    assert isinstance(model.input, QuantisedMatrix)
    assert model.pruned is not None
    assert model.input.shape == (model.n_words + len(model.pruned), 6)
    assert [block.shape for block in model.input.centroids] == [(256, 4), (256, 2)]
    rows = model.input.dense(0, model.input.shape[0])
    for i in range(0, len(rows), 7):
        np.testing.assert_allclose(rows[i], library.get_input_vector(i), rtol=0, atol=1e-7)
    np.testing.assert_array_equal(rows[5:9], model.input.dense(5, 9))
    np.testing.assert_array_equal(rows, model.input.unscaled(0, len(rows)) * model.input.scale[:, None])


def test_every_truncation_is_noticed(plain, quantised, tmp_path):
    for path, _ in (plain, quantised):
        data = path.read_bytes()
        cuts = [*range(120), *np.linspace(120, len(data) - 1, 150).astype(int).tolist()]
        for cut in cuts:
            broken = tmp_path / "broken.bin"
            broken.write_bytes(data[:cut])
            with pytest.raises(ModelError, match=r"broken\.bin") as caught:
                read_fasttext(broken)
            assert "\n" not in str(caught.value)
    broken.write_bytes(data + b"\0")
    with pytest.raises(ModelError, match="1 bytes follow its end"):
        read_fasttext(broken)


def test_damage_never_crashes(plain, quantised, tmp_path):
    rng = random.Random(1)
    for path, _ in (plain, quantised):
        data = path.read_bytes()
        structure = len(data) - read_fasttext(path).input.shape[0] * (24 if path.suffix == ".bin" else 2)
        for _ in range(150):
            damaged = bytearray(data)
            for _ in range(rng.choice([1, 1, 4])):
                damaged[rng.randrange(min(structure, 160) if rng.random() < 0.5 else len(data))] = rng.randrange(256)
            broken = tmp_path / "broken.bin"
            broken.write_bytes(damaged)
            try:
                found = FastTextModel(broken).predict(["w1 w2 naïve 山"], k=-1)
            except ModelError as error:
                assert "broken.bin" in str(error)  # noqa: PT017
            else:
                assert len(found) == 2


@pytest.mark.parametrize(
    ("at", "value", "message"),
    [
        (0, 1, "is no fastText model"),
        (4, 13, "has version 13"),
        (8, 0, "arguments make no sense"),
        (8, 7, "input matrix has shape"),
        (28, -1, "arguments make no sense"),
        (32, 5, "arguments make no sense"),
        (36, 1, "word vectors"),
        (40, 0, "no buckets"),
        (40, 500, "is needed"),
        (64, 5, "sizes of its dictionary"),
        (72, 0, "sizes of its dictionary"),
        (76, 0, None),  # the number of tokens matters to training alone
        (84, -2, "sizes of its dictionary"),
    ],
)
def test_header(plain, tmp_path, at, value, message):
    data = bytearray(plain[0].read_bytes())
    data[at : at + 4] = struct.pack("<i", value)
    path = tmp_path / "model.bin"
    path.write_bytes(data)
    if message is None:
        assert read_fasttext(path).dim == 6
    else:
        with pytest.raises(ModelError, match=message):
            read_fasttext(path)


def test_version_11_has_no_character_ngrams(train_file, tmp_path):
    path, _ = train(train_file, "subwords.bin", minn=2, maxn=3)
    data = bytearray(path.read_bytes())
    data[4:8] = struct.pack("<i", 11)
    old = tmp_path / "old.bin"
    old.write_bytes(data)
    library, ours = fasttext.load_model(str(old)), FastTextModel(old)
    texts = ["w1 w2 w3", "unknown words w9", ""]
    expected = [dict(zip(*library.predict(text, k=-1), strict=True))["__label__a"] for text in texts]
    np.testing.assert_allclose(ours.score(texts, label="a"), expected, rtol=0, atol=2e-6)


def test_other_files(tmp_path, train_file):
    with pytest.raises(ModelError, match="there is no fastText model at"):
        read_fasttext(tmp_path / "none.bin")
    with pytest.raises(ModelError, match="can't be read"):
        read_fasttext(tmp_path)
    (tmp_path / "empty.bin").touch()
    with pytest.raises(ModelError, match=r"empty\.bin"):
        read_fasttext(tmp_path / "empty.bin")
    with pytest.raises(ModelError, match="is no fastText model"):
        read_fasttext(train_file)
    vectors = tmp_path / "vectors.bin"
    fasttext.train_unsupervised(str(train_file), dim=4, bucket=100, epoch=1, thread=1, verbose=0).save_model(
        str(vectors)
    )
    with pytest.raises(ModelError, match="word vectors"):
        read_fasttext(vectors)
