import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.errors import ModelError
from mien.labels import FER2013, FERPLUS, LabelSet
from mien.models.spec import SPEC_VERSION, Head, ModelSpec, Preprocess, Temporal

SPEC = ModelSpec(
    name="base", arch="base", heads=(Head(FER2013, 1.3), Head(FERPLUS)), preprocess=Preprocess(), license="Apache-2.0"
)

names = st.text(min_size=1, max_size=12)
numbers = st.floats(allow_nan=False, allow_infinity=False)
labels = names.filter(str.strip)
label_sets = st.builds(LabelSet, names, st.lists(labels, min_size=2, max_size=9, unique=True).map(tuple))
inputs = st.builds(
    Preprocess,
    size=st.integers(8, 1024),
    channels=st.just(1),
    equalize=st.booleans(),
    normalize=st.sampled_from(["unit", "standardize"]),
) | st.builds(Preprocess, size=st.integers(8, 1024), channels=st.just(3))
plain = st.recursive(
    st.none() | st.booleans() | st.integers() | numbers | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
specs = st.builds(
    ModelSpec,
    name=names,
    arch=names,
    heads=st.lists(st.builds(Head, label_sets, numbers), min_size=1, max_size=3, unique_by=lambda h: h.labels.name).map(
        tuple
    ),
    preprocess=inputs,
    trained_on=st.dictionaries(names, st.text()),
    license=st.text(),
    metrics=st.dictionaries(names, numbers),
    recipe=st.dictionaries(names, plain),
)


def changed(**changes: Any) -> str:
    return json.dumps(json.loads(SPEC.to_json()) | changes)


@given(specs)
def test_json_gives_the_spec_back(spec: ModelSpec) -> None:
    text = spec.to_json()
    assert ModelSpec.from_json(text) == spec
    assert ModelSpec.from_json(text).to_json() == text


@given(st.text() | plain.map(json.dumps))
def test_garbage_is_refused(text: str) -> None:
    with pytest.raises(ModelError):
        ModelSpec.from_json(text)


@pytest.mark.parametrize("opening", ["[", '{"a":'])
def test_json_nested_without_end_is_refused(opening: str) -> None:
    deep = opening * 200_000 + "0" + ("]" if opening == "[" else "}") * 200_000
    with pytest.raises(ModelError, match=r"unreadable .* export the model again"):
        ModelSpec.from_json(changed(recipe="DEEP").replace('"DEEP"', deep))


def test_a_newer_version_asks_for_an_upgrade() -> None:
    with pytest.raises(ModelError, match=rf"version {SPEC_VERSION + 1}, this mien reads up to {SPEC_VERSION}; upgrade"):
        ModelSpec.from_json(changed(version=SPEC_VERSION + 1))


def test_classifiers_are_written_as_before_there_were_temporal_models() -> None:
    assert "temporal" not in json.loads(SPEC.to_json())
    assert json.loads(SPEC.to_json())["version"] == 1
    assert ModelSpec.from_json(SPEC.to_json()).temporal is None


def test_a_temporal_model_is_read_back_and_older_miens_are_told_to_upgrade() -> None:
    belongs = Temporal(classifier="base", fingerprint="ab" * 32, width=15, state=48)
    spec = replace(SPEC, temporal=belongs, version=2)
    assert ModelSpec.from_json(spec.to_json()) == spec
    assert json.loads(spec.to_json())["version"] == 2  # more than the 1 that they read up to
    with pytest.raises(ModelError, match="unreadable"):
        ModelSpec.from_json(changed(temporal={"classifier": "base"}))


def test_unknown_keys_are_named() -> None:
    with pytest.raises(ModelError, match="unknown keys: colour, mood"):
        ModelSpec.from_json(changed(mood="good", colour="red"))


@pytest.mark.parametrize("key", ["name", "arch", "heads", "preprocess", "version"])
def test_a_missing_key_is_refused(key: str) -> None:
    raw = json.loads(SPEC.to_json())
    del raw[key]
    with pytest.raises(ModelError, match=key):
        ModelSpec.from_json(json.dumps(raw))


@pytest.mark.parametrize(
    "changes",
    [
        {"heads": []},
        {"heads": [{"labels": {"name": "one", "labels": ["happy"]}, "temperature": 1.0}]},
        {"heads": [{"labels": {"name": "two", "labels": ["happy", "happy"]}, "temperature": 1.0}]},
        {"heads": [{"labels": {"name": "two", "labels": ["happy", ""]}, "temperature": 1.0}]},
        {"heads": [{"labels": {"name": "two", "labels": [1, 2]}, "temperature": 1.0}]},
        {"preprocess": {"size": 4}},
        {"preprocess": {"size": 48, "channels": 2}},
        {"preprocess": {"size": 48, "channels": 3, "equalize": True}},
        {"preprocess": {"size": 48, "normalize": "magic"}},
        {"preprocess": {"size": 48, "gamma": 2}},
        {"preprocess": {"size": "48"}},
    ],
)
def test_values_that_cannot_be_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ModelError):
        ModelSpec.from_json(changed(**changes))


def test_a_head_is_found_by_the_name_of_its_labels() -> None:
    assert SPEC.head() is SPEC.heads[0]
    assert SPEC.head("ferplus").labels is FERPLUS
    assert SPEC.labels is FER2013
    with pytest.raises(ModelError, match="choose from fer2013, ferplus"):
        SPEC.head("ferg")


def test_temperatures_change_by_name() -> None:
    spec = SPEC.with_temperatures({"ferplus": 0.8})
    assert [head.temperature for head in spec.heads] == [1.3, 0.8]
    assert [head.temperature for head in SPEC.heads] == [1.3, 1.0]
