from dataclasses import replace
from pathlib import Path

import pytest

from mien.errors import ConfigError
from mien.settings import from_dict, parse_override
from mien.training.recipe import Stage, TrainConfig, load_recipe, recipe_names


@pytest.mark.parametrize("name", recipe_names())
def test_every_shipped_recipe_loads(name: str) -> None:
    config = load_recipe(name)
    assert config.epochs == sum(stage.epochs for stage in config.stages)
    assert config.stages[-1].size == config.preprocess.size  # the model's own input


@pytest.mark.parametrize("variant", ["plain", "cbam", "gru", "vit"])
def test_variants_of_the_flagship_are_trained_as_it_is(variant: str) -> None:
    """So differences in the result are due to the net."""
    config = load_recipe(f"base-{variant}-short")
    assert (config.net, config.name) == (f"base-{variant}", f"base-{variant}-short")
    assert replace(config, net="base", name="base-short") == load_recipe("base-short")


def test_an_unknown_recipe_lists_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"unknown recipe 'bsae'; choose from base, .* or give a \.toml file"):
        load_recipe("bsae")


def test_a_recipe_can_be_a_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('net = "tiny"\nlearning_rate = 1\n[[stages]]\nsize = 24\nepochs = 3\n')
    config = load_recipe(str(path))
    assert config == TrainConfig(net="tiny", learning_rate=1.0, stages=(Stage(size=24, epochs=3),))
    assert isinstance(config.learning_rate, float)


@pytest.mark.parametrize(("content", "message"), [(b"net = ", "not valid TOML"), (b"net = '\xff'", "cannot read")])
def test_a_file_that_is_no_recipe_says_so(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "bad.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        load_recipe(str(path))


def test_a_missing_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read recipe"):
        load_recipe(str(tmp_path / "none.toml"))


def test_overrides_reach_into_tables() -> None:
    config = load_recipe("tiny", {"augment.rotation": 10, "seed": 7, "preprocess.size": 40})
    assert (config.augment.rotation, config.seed, config.preprocess.size) == (10.0, 7, 40)
    assert config.preprocess.normalize == "standardize"  # its neighbours stay


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"learing_rate": 1}, r"unknown setting 'learing_rate'; choose from net, name, .*learning_rate"),
        ({"augment.zoom": 1}, r"unknown setting 'augment\.zoom'; choose from flip, rotation"),
        ({"stages": [{"size": 48, "epoch": 3}]}, r"unknown setting 'stages\[0\]\.epoch'; choose from size, epochs"),
        ({"net.width": 3}, "'net' is not a table"),
        ({"batch_size": 12.5}, "'batch_size' is 12.5; expected int"),
        ({"batch_size": True}, "'batch_size' is True; expected int"),
        ({"learning_rate": True}, "'learning_rate' is True; expected float"),
        ({"learning_rate": "fast"}, "'learning_rate' is 'fast'; expected float"),
        ({"net": 3}, "'net' is 3; expected str"),
        ({"augment": 0.5}, "'augment' is 0.5; expected a table"),
        ({"stages": "48"}, "'stages' is '48'; expected a list"),
        ({"stages": []}, "at least one stage"),
        ({"stages": [{"size": 48}]}, r"incomplete settings: 'stages\[0\]\.epochs' is missing"),
        ({"stages": [{"size": 48, "epochs": 0}]}, r"stages\[0\]\.epochs is 0; expected 1 to 100000"),
        ({"precision": "fp8"}, "expected one of auto, 32-true, bf16-mixed"),
        ({"preprocess.normalize": "magic"}, "is 'magic'; expected one of .*standardize"),
        ({"preprocess.channels": 2}, "2 channels; expected 1"),
        ({"batch_size": 1}, "batch_size is 1"),
        ({"ema_decay": 1.0}, "ema_decay is 1.0"),
        ({"learning_rate": -0.1}, "learning_rate is -0.1"),
        ({"learning_rate": float("nan")}, "learning_rate is nan"),
        ({"backbone_rate": 0}, r"backbone_rate is 0.0; expected a positive number; freeze = \['backbone'\] stops it"),
        ({"backbone_rate": float("nan")}, "backbone_rate is nan"),
        ({"freeze": "backbone"}, "'freeze' is 'backbone'; expected a list"),
        ({"freeze": [3], "init": "base"}, r"'freeze\[0\]' is 3; expected str"),
        ({"freeze": ["backbone"]}, r"freeze needs initial weights; name them with init \(--init\)"),
    ],
)
def test_a_wrong_setting_is_named(overrides: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_recipe("tiny", overrides)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"momentum": -1}, "^momentum is -1.0; expected 0 <= momentum < 1$"),
        ({"label_smoothing": 2}, "^label_smoothing is 2.0; expected 0 <= label_smoothing < 1$"),
        ({"weight_decay": -1}, "^weight_decay is -1.0; expected 0 or more$"),
        ({"clip_norm": 0}, "^clip_norm is 0.0; expected a positive number$"),
        ({"mixup_share": 1.5}, "^mixup_share is 1.5; expected 0 to 1$"),
        ({"warmup_epochs": -1}, "^warmup_epochs is -1; expected 0 or more$"),
        ({"stages": [{"size": 7, "epochs": 1}]}, r"^stages\[0\].size is 7; expected 8 to 1024$"),
        ({"stages": [{"size": 48, "epochs": 10**9}]}, r"^stages\[0\].epochs is 1000000000; expected 1 to 100000$"),
        ({"stages": [{"size": 48, "epochs": 1, "augment": 2}]}, r"^stages\[0\].augment is 2.0; expected 0 to 1$"),
        ({"augment.scale": 1}, r"^augment.scale is 1.0; expected 0 <= augment.scale < 1$"),
        ({"augment.erase": float("nan")}, "^augment.erase is nan; expected 0 to 1$"),
        ({"heads": [{"labels": "fer2013", "weight": 0}]}, r"^heads\[0\].weight is 0.0; expected a positive number$"),
    ],
)
def test_a_setting_out_of_range_is_named_with_its_bounds(setting: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_recipe("tiny", setting)


def test_a_recipe_made_in_python_has_the_same_bounds() -> None:
    with pytest.raises(ConfigError, match=r"^momentum is -1.0; expected 0 <= momentum < 1$"):
        TrainConfig(net="tiny", momentum=-1)
    with pytest.raises(ConfigError, match=r"^size is 100000; expected 8 to 1024$"):
        Stage(size=100_000, epochs=1)


def test_a_recipe_needs_a_net() -> None:
    with pytest.raises(ConfigError, match="net"):
        from_dict(TrainConfig, {})


def test_initial_weights_and_frozen_parts_are_settings_of_a_recipe(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text('net = "base"\ninit = "base"\nfreeze = ["backbone.0"]\nbackbone_rate = 0.1\n')
    config = load_recipe(str(tmp_path / "mine.toml"))
    assert (config.init, config.freeze, config.backbone_rate) == ("base", ("backbone.0",), 0.1)
    assert load_recipe("base").backbone_rate == 1


def test_a_recipe_of_an_older_version_may_call_the_backbone_body(tmp_path: Path) -> None:
    (tmp_path / "old.toml").write_text('net = "base"\ninit = "base"\nfreeze = ["body", "body.1"]\nbody_rate = 0.1\n')
    config = load_recipe(str(tmp_path / "old.toml"))
    assert (config.freeze, config.backbone_rate) == (("backbone", "backbone.1"), 0.1)
    assert load_recipe("finetune", {"body_rate": 0.5}).backbone_rate == 0.5


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("learning_rate=0.05", ("learning_rate", 0.05)),
        ("augment.flip = false", ("augment.flip", False)),
        ("net=vgg-b", ("net", "vgg-b")),
        ("name='a=b'", ("name", "a=b")),
        ("stages=[{size = 48, epochs = 2}]", ("stages", [{"size": 48, "epochs": 2}])),
        ("name=", ("name", "")),
    ],
)
def test_a_flag_is_read_as_toml_or_as_a_word(text: str, expected: tuple[str, object]) -> None:
    assert parse_override(text) == expected


@pytest.mark.parametrize("text", ["learning_rate", "=3", " = 3"])
def test_a_flag_without_key_and_value_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="is not key=value"):
        parse_override(text)


def test_the_stages_follow_each_other() -> None:
    first, second = Stage(size=32, epochs=2), Stage(size=48, epochs=1)
    config = TrainConfig(net="tiny", stages=(first, second))
    assert [config.stage_of(epoch) for epoch in range(config.epochs)] == [first, first, second]
    with pytest.raises(ValueError, match="past the last of 3"):
        config.stage_of(3)


@pytest.mark.parametrize(
    "setting", [{"name": "../elsewhere"}, {"name": "a\0b"}, {"net": "a\0b"}, {"seed": -5}, {"seed": 1 << 70}]
)
def test_a_name_of_another_folder_and_an_impossible_seed_are_refused(setting: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        load_recipe("tiny", setting)
