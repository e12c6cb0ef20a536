"""Laws of configuration: what is written is read, and what is wrong is named."""

from __future__ import annotations

import math
from dataclasses import MISSING, dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tgqformer.config import describe, from_dict, load_yaml, override, to_dict
from tgqformer.errors import ConfigError


@dataclass(frozen=True)
class Lora:
    """Adapter.

    Attributes:
        rank: width of the update;
            note: more is slower.
        alpha: scale of the update.
    """

    rank: int = 8
    alpha: float = 16.0


@dataclass(frozen=True)
class Training:
    """How to train.

    Attributes:
        learning_rate: step size of AdamW.
        dims: widths of the Matryoshka heads.
    """

    learning_rate: float = 1e-3
    loss: str = "infonce"
    steps: int = 100
    resume: bool = False
    eval_every: int | None = 50
    precision: Literal["float32", "bfloat16"] = "float32"
    dims: tuple[int, ...] = (64, 128)
    size: tuple[int, int] = (224, 224)
    layers: list[str] = field(default_factory=lambda: ["q", "v"])
    cache: Path | None = None
    extra: dict[str, float] = field(default_factory=dict)
    lora: Lora | None = None

    def __post_init__(self) -> None:
        if self.eval_every is not None and self.eval_every > self.steps:
            raise ConfigError(f"eval_every ({self.eval_every}) must be <= steps ({self.steps})")


@dataclass
class Run:
    """A run."""

    name: str
    training: Training = field(default_factory=Training)
    seed: int = field(default=0, metadata={"help": "seed of everything drawn at random"})


def run(**training: Any) -> Run:
    return Run("r", Training(**training))


@given(
    learning_rate=st.floats(allow_nan=False),
    steps=st.integers(min_value=50),
    dims=st.lists(st.integers()).map(tuple),
    layers=st.lists(st.text()),
    eval_every=st.none() | st.integers(max_value=50),
    lora=st.none() | st.builds(Lora, rank=st.integers(), alpha=st.floats(allow_nan=False)),
    cache=st.none() | st.just(Path("a/b")),
)
def test_from_dict_undoes_to_dict(**training: Any) -> None:
    config = run(**training)
    assert from_dict(Run, to_dict(config)) == config


def test_to_dict_is_plain_data_that_yaml_holds(tmp_path: Path) -> None:
    import yaml

    config = run(lora=Lora(4), cache=Path("x"))
    path = tmp_path / "c.yaml"
    path.write_text(yaml.safe_dump(to_dict(config)))
    assert from_dict(Run, load_yaml(path)) == config


@given(value=st.floats(allow_nan=False))
def test_an_override_reads_a_float_as_python_writes_it(value: float) -> None:
    assert override(run(), [f"training.learning_rate={value!r}"]).training.learning_rate == value


@pytest.mark.parametrize(
    ("assignment", "name", "expected"),
    [
        ("steps=1_000", "steps", 1000),
        ("steps=1e5", "steps", 100_000),
        ("resume=yes", "resume", True),
        ("resume=False", "resume", False),
        ("eval_every=none", "eval_every", None),
        ("eval_every=7", "eval_every", 7),
        ("precision=bfloat16", "precision", "bfloat16"),
        ("dims=32,64", "dims", (32, 64)),
        ("dims=[32, 64]", "dims", (32, 64)),
        ("dims=", "dims", ()),
        ("size=(96, 64)", "size", (96, 64)),
        ("layers=q", "layers", ["q"]),
        ("cache=/tmp/x", "cache", Path("/tmp/x")),
        ("cache=null", "cache", None),
        ("loss=a=b", "loss", "a=b"),
        ("loss=none", "loss", "none"),
        ("extra={a: 1, b: 2.5}", "extra", {"a": 1.0, "b": 2.5}),
        ("learning_rate=inf", "learning_rate", math.inf),
    ],
)
def test_text_is_read_by_the_annotation(assignment: str, name: str, expected: object) -> None:
    changed = override(run(), ["training." + assignment])
    assert getattr(changed.training, name) == expected
    assert type(getattr(changed.training, name)) is type(expected)


@pytest.mark.parametrize(
    "assignment",
    [
        "steps=1.5",
        "steps=inf",
        "steps=many",
        "resume=maybe",
        "learning_rate=nan",
        "precision=float16",
        "size=1,2,3",
        "dims=1,x",
        "extra=[1]",
        "extra={a: }",
        "lora=4",
    ],
)
def test_a_value_that_breaks_its_rule_is_named(assignment: str) -> None:
    key, value = assignment.split("=", 1)
    with pytest.raises(ConfigError, match=rf"training\.{key}") as caught:
        override(run(), ["training." + assignment])
    assert value in str(caught.value) or key == "extra"
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", [True, "x", None, 1.5, [1]])
def test_yaml_values_are_not_bent(value: object) -> None:
    with pytest.raises(ConfigError, match=r"training\.steps = .* must be int"):
        from_dict(Run, {"name": "r", "training": {"steps": value}})


def test_a_number_is_no_text() -> None:
    with pytest.raises(ConfigError, match="name = 7 must be str"):
        from_dict(Run, {"name": 7})


def test_overrides_leave_the_original_and_everything_else_alone() -> None:
    config = run(dims=(1, 2))
    changed = override(config, ["training.steps=200", "seed=3"])
    assert config == run(dims=(1, 2))
    assert changed == Run("r", Training(dims=(1, 2), steps=200), seed=3)


def test_overrides_apply_together_and_the_last_one_wins() -> None:
    # 500 alone would break eval_every <= steps
    changed = override(run(), ["training.eval_every=500", "training.steps=9", "training.steps=900"])
    assert (changed.training.eval_every, changed.training.steps) == (500, 900)


def test_the_rule_of_a_dataclass_still_holds_after_an_override() -> None:
    with pytest.raises(ConfigError, match=r"eval_every \(50\) must be <= steps \(10\)"):
        override(run(), ["training.steps=10"])


def test_an_optional_group_is_made_when_an_option_of_it_is_set() -> None:
    assert override(run(), ["training.lora.rank=2"]).training.lora == Lora(rank=2)
    assert override(run(lora=Lora(3)), ["training.lora.alpha=1"]).training.lora == Lora(3, 1.0)
    changed = override(run(lora=Lora(3)), ["training.lora=none", "training.lora.alpha=1"])
    assert changed.training.lora == Lora(3, 1.0)
    assert override(run(lora=Lora(3)), ["training.lora=none"]).training.lora is None
    assert from_dict(Run, {"name": "r", "training": {"lora": None}}).training.lora is None


@pytest.mark.parametrize(
    ("unknown", "nearest"),
    [
        ("training.lr", "training.learning_rate"),
        ("training.learning_rat", "training.learning_rate"),
        ("learning_rate", "training.learning_rate"),
        ("training.lora.rnak", "training.lora.rank"),
        ("trainig.steps", "training.steps"),
        ("sede", "seed"),
    ],
)
def test_an_unknown_key_names_the_nearest_known_one(unknown: str, nearest: str) -> None:
    message = f"unknown option '{unknown}'; did you mean '{nearest}'\\?"
    with pytest.raises(ConfigError, match=message):
        override(run(), [unknown + "=1"])


def test_an_unknown_key_in_a_mapping_is_named_with_its_path() -> None:
    with pytest.raises(ConfigError, match=r"'training\.stesp'; did you mean 'training\.steps'"):
        from_dict(Run, {"name": "r", "training": {"stesp": 1}})


def test_a_key_like_no_other_lists_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"'zzzzzz'; the known ones are name, "):
        override(run(), ["zzzzzz=1"])


def test_an_option_holds_no_options() -> None:
    with pytest.raises(ConfigError, match=r"'training\.steps' is one value"):
        override(run(), ["training.steps.x=1"])


@pytest.mark.parametrize("text", ["training.steps", "=3", ""])
def test_an_override_needs_a_key_and_a_value(text: str) -> None:
    with pytest.raises(ConfigError, match="key=value"):
        override(run(), [text])


def test_an_option_without_default_must_be_given() -> None:
    with pytest.raises(ConfigError, match="'name' has no default"):
        from_dict(Run, {})


@pytest.mark.parametrize("text", ["[1, 2]", "a: [", "1: 2", "just text", "!!python/object:os.x {}"])
def test_a_file_that_is_no_mapping_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"bad\.yaml"):
        load_yaml(path)


def test_an_absent_file_is_named_and_an_empty_one_is_empty(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"absent\.yaml"):
        load_yaml(tmp_path / "absent.yaml")
    (tmp_path / "empty.yaml").touch()
    assert load_yaml(tmp_path / "empty.yaml") == {}


def test_describe_lists_every_option_with_default_and_doc() -> None:
    options = {option.key: option for option in describe(Run)}
    assert list(options)[:3] == ["name", "training.learning_rate", "training.loss"]
    assert options["name"].default is MISSING
    assert options["seed"].doc == "seed of everything drawn at random"
    assert options["training.learning_rate"].doc == "step size of AdamW."
    assert options["training.lora.rank"].doc == "width of the update; note: more is slower."
    assert options["training.eval_every"].type == "int | none"
    assert options["training.precision"].type == "one of 'float32', 'bfloat16'"
    assert options["training.dims"].type == "tuple[int, ...]"
    assert options["training.dims"].default == (64, 128)
