import json
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
temperatures = st.floats(min_value=0, exclude_min=True, allow_infinity=False)
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
    heads=st.lists(
        st.builds(Head, label_sets, temperatures), min_size=1, max_size=3, unique_by=lambda h: h.labels.name
    ).map(tuple),
    preprocess=inputs,
    trained_on=st.dictionaries(names, st.text()),
    license=st.text(),
    metrics=st.dictionaries(names, numbers),
    recipe=st.dictionaries(names, plain),
    kind=st.sampled_from(["face", "voice", "ensemble"]),
    input=st.sampled_from(["image", "sound"]),
)


def changed(**changes: Any) -> str:
    return json.dumps(json.loads(SPEC.to_json()) | changes, sort_keys=True)


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


# Written before there were other kinds than faces; older releases refuse other keys.
FIRST = """{"arch": "base", "crop": "fer2013", "graph": {"input": "uint8-nhwc", "output": "probabilities"},
 "heads": [{"labels": {"labels": ["happy", "sad"], "name": "two"}, "temperature": 1.0}], "license": "", "metrics": {},
 "name": "base", "preprocess": {"channels": 1, "equalize": false, "normalize": "standardize", "size": 48},
 "recipe": {}, "trained_on": {}, "version": 1}"""


def test_classifiers_are_written_so_that_older_releases_read_them() -> None:
    spec = ModelSpec.from_json(FIRST)
    assert (spec.kind, spec.input, spec.temporal) == ("face", "image", None)
    assert json.loads(spec.to_json()) == json.loads(FIRST)


def test_a_temporal_model_is_known_by_its_key_which_releases_up_to_version_2_read() -> None:
    belongs = {"classifier": "base", "fingerprint": "ab" * 32, "width": 15, "state": 48}
    spec = ModelSpec.from_json(changed(temporal=belongs, version=2))
    assert (spec.kind, spec.input, spec.temporal) == ("temporal", "image", Temporal(**belongs))
    assert spec.to_json() == changed(temporal=belongs, version=2)
    with pytest.raises(ModelError, match="unreadable"):
        ModelSpec.from_json(changed(temporal={"classifier": "base"}))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "pose"}, "unknown kind of model 'pose'; expected one of face, temporal, voice, ensemble"),
        ({"input": "smell"}, "unknown input 'smell'; expected one of image, sound"),
        ({"kind": "temporal"}, "'temporal' has temporal = None"),
    ],
)
def test_an_unknown_kind_or_input_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        ModelSpec.from_json(changed(**changes))


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
def test_impossible_values_are_refused(changes: dict[str, Any]) -> None:
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


@pytest.mark.parametrize(
    "change",
    [
        {"name": None}, {"name": []}, {"arch": {}}, {"license": ["a"]}, {"trained_on": "x"}, {"recipe": "x"},
        {"metrics": ["a"]}, {"preprocess": {"equalize": "x"}},
        {"heads": [{"labels": {"name": "a", "labels": ["b", "c"]}, "temperature": 0}]},
        {"heads": [{"labels": {"name": "a", "labels": ["b", "c"]}, "temperature": "x"}]},
    ],
)  # fmt: skip
def test_a_damaged_spec_is_refused_when_it_is_read(change: dict[str, object]) -> None:
    spec = ModelSpec(name="mine", arch="none", heads=(Head(FER2013),), preprocess=Preprocess())
    with pytest.raises(ModelError):
        ModelSpec.from_json(json.dumps(json.loads(spec.to_json()) | change))
