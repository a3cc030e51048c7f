"""The step `embed`: vectors by every option, and mistakes told in a sentence."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tamis.pipeline.steps.registry import parse_step
from tamis.schemas.errors import ConfigError, ModelError
from tamis.scorers.embeddings.hashed import HashedEmbeddings
from tests.jobs.run.step_columns import columns_of, models_of, parsed

TEXTS = ["the river runs through the valley", "a river runs through a valley", "", "numbers one two three"]


def vectors(**options):
    step = parsed("embed", **options)
    return np.array([row[step.name] for row in columns_of(step, text=TEXTS)], np.float32)


def test_hashed_vectors_are_the_scorers():
    assert (vectors() == HashedEmbeddings().vectors(TEXTS)).all()
    wanted = HashedEmbeddings(32, ngrams=3, units="bytes", seed=5).vectors(TEXTS)
    assert (vectors(dimensions=32, ngrams=3, units="bytes", projection=5) == wanted).all()


@pytest.mark.parametrize("options", [{"dimensions": 8}, {"ngrams": 1}, {"units": "bytes"}, {"projection": 1}])
def test_each_option_changes_vectors(options):
    assert vectors(**options).tolist() != vectors().tolist()


def test_near_texts_are_near_and_empty_ones_have_no_direction():
    found = vectors()
    assert found[0] @ found[1] > found[0] @ found[3] + 0.2
    assert np.allclose(np.linalg.norm(found, axis=1), [1, 1, 0, 1], atol=1e-6)


def test_column_is_a_fixed_size_list_by_its_name():
    step = parse_step({"embed": {"dimensions": 4, "name": "topic", "write": False}}, "steps[0]")
    (field,) = step.columns({})
    assert (field.name, field.type.list_size, field.type.value_type) == ("topic", 4, pa.float32())
    assert field.metadata[b"internal"] == b"1"
    assert step.label == "embed.topic"


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"encoder": "static"}, "needs a `model`"),
        ({"encoder": "hashed", "model": "m"}, "need no `model`"),
        ({"pooling": "cls"}, "`pooling` changes nothing of hashed embeddings"),
        ({"model": "m", "dimensions": 4}, "`dimensions` changes nothing of static or transformers embeddings"),
        ({"model": "m", "encoder": "static", "prefix": "x"}, "`prefix` changes nothing of static embeddings"),
        ({"dimensions": 0}, "dimensions"),
    ],
)
def test_options_that_contradict_are_refused(options, told):
    with pytest.raises(ConfigError, match=told):
        parse_step({"embed": options}, "steps[0]")


def test_model_must_be_a_folder(tmp_path):
    with pytest.raises(ModelError, match="step embed: model: "):
        models_of(parsed("embed", model=str(tmp_path / "none")))
    (tmp_path / "m.bin").write_bytes(b"x")
    with pytest.raises(ModelError, match="is a file; give the folder"):
        models_of(parsed("embed", model=str(tmp_path / "m.bin")))
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / "config.json").write_text(json.dumps({"model_type": "model2vec"}))
    step = parsed("embed", model=str(empty))
    with pytest.raises(ModelError, match="isn't a static embedding model"):
        step.annotator(models_of(step))


def test_run_writes_vectors_as_they_are_wanted(config_of, run, tmp_path):
    run(config_of({"embed": {"dimensions": 16}}, {"embed": {"name": "hidden", "write": False}}))
    files = sorted((tmp_path / "run" / "selected").rglob("*.parquet"))
    table = pa.concat_tables([pq.read_table(path, partitioning=None) for path in files])
    assert "hidden" not in table.column_names
    kind = table.schema.field("embedding").type
    assert (pa.types.is_fixed_size_list(kind), kind.list_size, kind.value_type) == (True, 16, pa.float32())
    wanted = HashedEmbeddings(16).vectors(table.column("text").to_pylist())
    assert (np.array(table.column("embedding").to_pylist(), np.float32) == wanted).all()
