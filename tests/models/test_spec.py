import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mien.errors import ModelError
from mien.labels import FER2013, FERPLUS, LabelSet
from mien.models.spec import SPEC_VERSION, Head, ModelSpec, Preprocess, Sound, Temporal

SPEC = ModelSpec(
    name="base", arch="base", heads=(Head(FER2013, 1.3), Head(FERPLUS)), preprocess=Preprocess(), license="Apache-2.0"
)

printable = st.characters(min_codepoint=0xA1, max_codepoint=0x4FF)  # letters and signs, no control codes
names = st.text(printable, min_size=1, max_size=12)
numbers = st.floats(allow_nan=False, allow_infinity=False)
temperatures = st.floats(min_value=1e-3, max_value=1e3)
label_sets = st.builds(LabelSet, names, st.lists(names, min_size=2, max_size=9, unique=True).map(tuple))
inputs = st.builds(
    Preprocess,
    size=st.integers(8, 1024),
    channels=st.just(1),
    equalize=st.booleans(),
    normalize=st.sampled_from(["unit", "standardize"]),
) | st.builds(Preprocess, size=st.integers(8, 1024), channels=st.just(3))
plain = st.recursive(
    st.none() | st.booleans() | st.integers() | numbers | st.text(printable),
    lambda inner: st.lists(inner) | st.dictionaries(names, inner),
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
    trained_on=st.dictionaries(names, names),
    license=names,
    metrics=st.dictionaries(names, numbers),
    recipe=st.dictionaries(names, plain),
    kind=st.just("face"),
)
sounds = st.builds(Sound, bands=st.integers(8, 128), shortest=st.floats(0.5, 2), width=st.integers(0, 4096))
voices = st.builds(
    ModelSpec, name=names, arch=names, heads=st.builds(Head, label_sets, temperatures).map(lambda head: (head,)),
    preprocess=st.just(Preprocess()), kind=st.just("voice"), input=st.just("sound"), sound=sounds, version=st.just(3),
)  # fmt: skip


def changed(**changes: Any) -> str:
    return json.dumps(json.loads(SPEC.to_json()) | changes, sort_keys=True)


@given(specs | voices)
@settings(suppress_health_check=[HealthCheck.too_slow])
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
    deep = opening * 100_000 + "0" + ("]" if opening == "[" else "}") * 100_000
    with pytest.raises(ModelError, match=r"not JSON .* export the model again"):
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
        ({"kind": "pose"}, "'kind' is 'pose'; expected one of face, temporal, voice, ensemble"),
        ({"input": "smell"}, "'input' is 'smell'; expected one of image, sound"),
        ({"kind": "temporal"}, "'temporal' has temporal = None"),
        ({"kind": "voice"}, "kind 'voice' has the input 'image' and sound = None"),
        ({"kind": "voice", "input": "sound"}, "kind 'voice' has the input 'sound' and sound = None"),
        ({"input": "sound"}, "kind 'face' has the input 'sound'"),
        ({"sound": {"rate": 16000}}, "kind 'face' has the input 'image' and sound = Sound"),
        ({"kind": "voice", "input": "sound", "sound": {"rate": 5}}, "rate of the sound is 5; expected 8000 to 48000"),
    ],
)
def test_an_unknown_kind_or_input_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        ModelSpec.from_json(changed(**changes))


def test_unknown_keys_are_named() -> None:
    with pytest.raises(ModelError, match="unknown keys: 'colour, mood'"):
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
    assert SPEC.head("fer2013").labels is FER2013
    assert SPEC.head("ferplus").labels is FERPLUS
    with pytest.raises(ModelError, match="choose from fer2013, ferplus"):
        SPEC.head("ferg")


def test_the_default_head_is_that_of_ferplus_votes_or_else_the_first() -> None:
    assert SPEC.head().labels is SPEC.labels is FERPLUS
    assert replace(SPEC, heads=SPEC.heads[:1]).labels is FER2013
    other = Head(LabelSet("mine", ("calm", "cross")))
    assert replace(SPEC, heads=(other, SPEC.heads[0])).head() is other


def test_temperatures_change_by_name() -> None:
    spec = SPEC.with_temperatures({"ferplus": 0.8})
    assert [head.temperature for head in spec.heads] == [1.3, 0.8]
    assert [head.temperature for head in SPEC.heads] == [1.3, 1.0]


HEAD = {"labels": {"name": "a", "labels": ["b", "c"]}, "temperature": 1}


def head(**changes: object) -> dict[str, object]:
    return {"heads": [{"labels": {"name": "a", "labels": ["b", "c"]} | changes, "temperature": 1}]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": None}, "'name' is None; expected str"),
        ({"name": "x" * 1_000_000}, "name of the model is 'xxx.*; expected at most 200 characters"),
        ({"name": "a\x1b[2J"}, "none of them control codes"),
        ({"name": "a\u202egnp"}, "none of them control codes"),  # written from right to left
        ({"name": "a\u2028b"}, "none of them control codes"),
        ({"arch": {}}, "'arch' is {}; expected str"),
        ({"license": ["a"]}, "expected str"),
        ({"trained_on": "x"}, "'trained_on' is 'x'; expected a table"),
        ({"trained_on": {"name": 3}}, "'trained_on.name' is 3; expected str"),
        ({"recipe": "x"}, "'recipe' is 'x'; expected a table"),
        ({"recipe": {"rate": float("nan")}}, "'recipe.rate' is nan; expected a finite number"),
        ({"metrics": {"accuracy": "high"}}, "'metrics.accuracy' is 'high'; expected float"),
        ({"metrics": {"accuracy": float("inf")}}, "expected a finite number"),
        ({"metrics": {"accuracy": 10**400}}, "expected float"),
        ({"preprocess": {"equalize": "x"}}, "'preprocess.equalize' is 'x'; expected bool"),
        ({"preprocess": {"size": 48.0}}, "'preprocess.size' is 48.0; expected int"),
        ({"preprocess": {"size": True}}, "expected int"),
        ({"preprocess": []}, r"'preprocess' is \[\]; expected a table"),
        ({"graph": {"input": ["float32-nchw"]}}, "expected one of uint8-nhwc"),
        ({"heads": {"a": 1}}, "'heads' is {'a': 1}; expected a list"),
        ({"heads": [HEAD, HEAD]}, "two heads of the model have the same name: 'a, a'"),
        ({"heads": [HEAD | {"temperature": 0}]}, "expected 0.001 to 1000"),
        ({"heads": [HEAD | {"temperature": 1e-300}]}, "expected 0.001 to 1000"),
        ({"heads": [HEAD | {"temperature": "x"}]}, r"'heads\[0\].temperature' is 'x'; expected float"),
        (head(labels="angry,happy"), "expected a list"),
        (head(labels=["b", 1]), r"labels\[1\]' is 1; expected str"),
        (head(labels=["b", "\ud800"]), "expected text"),
        (head(labels=["b", "c" * 1_000_000]), "expected at most 100 characters"),
        (head(labels=["b", "\x1b]0;owned\x07"]), "none of them control codes"),
        (head(labels=[str(i) for i in range(2000)]), "2,000 labels, expected at most 1,000"),
        ({"temporal": {"classifier": "a", "fingerprint": "b", "width": 10**30, "state": 1}}, "expected 1 to 65536"),
    ],
)
def test_a_damaged_spec_is_refused_in_one_short_line_when_it_is_read(change: dict[str, object], message: str) -> None:
    with pytest.raises(ModelError, match=message) as caught:
        ModelSpec.from_json(changed(**change))
    assert len(str(caught.value)) < 300
    assert str(caught.value).isprintable()


def test_a_bloated_spec_is_refused() -> None:
    with pytest.raises(ModelError, match="characters, expected at most 1,048,576"):
        ModelSpec.from_json(changed(recipe={"note": "x" * 2_000_000}))


def test_a_recipe_nested_deep_is_refused() -> None:
    deep = "[" * 40 + "]" * 40
    with pytest.raises(ModelError, match="nested more than 20 deep"):
        ModelSpec.from_json(changed(recipe={"a": "DEEP"}).replace('"DEEP"', deep))
