"""Loading: what is wrong is one sentence with a remedy; the dtype is the machine's or given."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tgqformer import hub, numerics
from tgqformer.errors import ConfigError, ModelError, TGQFormerError
from tgqformer.towers.load import (
    IMAGE_TOWERS,
    TEXT_TOWERS,
    ImageTowerConfig,
    TextTowerConfig,
    load_image_tower,
    load_text_tower,
)

Checkpoint = Callable[..., str]


def test_an_unknown_kind_names_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="image tower of kind 'vgg'; choose one of efficientnet"):
        load_image_tower(ImageTowerConfig(kind="vgg"))
    with pytest.raises(ConfigError, match=f"choose one of {', '.join(TEXT_TOWERS)}"):
        load_text_tower(TextTowerConfig(kind="efficientnet_lite0"))
    assert set(IMAGE_TOWERS) == {"efficientnet_lite0", "clip", "vision", "tiny"}


@pytest.mark.parametrize("options", [{"dtype": "int8"}, {"image_size": 4}, {"image_size": 10**6}])
def test_an_option_out_of_bounds_is_named(options: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="; choose|choose"):
        ImageTowerConfig(**options)  # type: ignore[arg-type]


def test_too_few_tokens_are_refused() -> None:
    with pytest.raises(ConfigError, match="at least 4"):
        TextTowerConfig(max_tokens=2)


@pytest.mark.parametrize("kind", ["clip", "vision"])
def test_a_hub_that_is_not_reached_is_said_at_once(
    kind: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(hub, "hub_is_reachable", lambda: False)
    with pytest.raises(ModelError, match="the hub is not reached") as caught:
        load_image_tower(ImageTowerConfig(kind=kind, name="nobody/no-such-model-here"))
    assert "local folder" in str(caught.value)
    assert "\n" not in str(caught.value)
    with pytest.raises(ModelError, match="the hub is not reached"):
        load_text_tower(TextTowerConfig(name="nobody/no-such-model-here", revision="v1"))


def test_offline_mode_is_taken_at_its_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert not hub.hub_is_reachable.__wrapped__()


@pytest.mark.parametrize("name", ["", "./nowhere", "/no/such/folder", "a/b/c"])
def test_a_name_that_leads_nowhere_is_said(name: str) -> None:
    with pytest.raises(ModelError, match="has no name|does not exist"):
        load_image_tower(ImageTowerConfig(kind="vision", name=name))


def test_an_empty_folder_and_a_half_model_are_said(tmp_path: Path, checkpoint: Checkpoint) -> None:
    with pytest.raises(ModelError, match="holds a whole model") as caught:
        load_image_tower(ImageTowerConfig(kind="vision", name=str(tmp_path)))
    assert "\n" not in str(caught.value)
    import shutil

    shutil.copytree(checkpoint("vit"), tmp_path / "half")
    weights = tmp_path / "half" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(ModelError, match="holds a whole model"):
        load_image_tower(ImageTowerConfig(kind="vision", name=str(tmp_path / "half")))
    (tmp_path / "half" / "preprocessor_config.json").unlink()
    with pytest.raises(TGQFormerError):
        load_image_tower(ImageTowerConfig(kind="vision", name=str(tmp_path / "half")))


def test_loading_leaves_transformers_verbosity_as_it_was(checkpoint: Checkpoint) -> None:
    from transformers.utils import logging

    logging.set_verbosity_warning()
    load_image_tower(ImageTowerConfig(kind="vision", name=checkpoint("vit")))
    assert logging.get_verbosity() == logging.WARNING


@pytest.mark.parametrize(
    ("name", "device", "fast_cpu", "expected"),
    [
        ("auto", "cpu", False, torch.float32),
        ("auto", "cpu", True, torch.bfloat16),
        ("auto", "cuda", False, torch.bfloat16),
        ("float16", "cuda", False, torch.float16),
        ("float32", "cuda", True, torch.float32),
    ],
)
def test_auto_is_bfloat16_where_the_device_computes_in_it(
    name: str,
    device: str,
    fast_cpu: bool,
    expected: torch.dtype,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(numerics, "cpu_has_bfloat16", lambda: fast_cpu)
    assert numerics.resolve_dtype(name, torch.device(device)) == expected


def test_bfloat16_is_near_float32_and_has_a_key_of_its_own(checkpoint: Checkpoint) -> None:
    from PIL import Image

    towers = [
        load_image_tower(ImageTowerConfig(kind="clip", name=checkpoint("clip"), dtype=dtype))
        for dtype in ("float32", "bfloat16")
    ]
    picture = Image.linear_gradient("L").convert("RGB").resize((32, 32))
    full, half = (tower.encode([tower.preprocess(picture)]) for tower in towers)
    assert half.tokens.dtype == torch.bfloat16
    torch.testing.assert_close(half.tokens.float(), full.tokens, atol=0.1, rtol=0.1)
    assert towers[0].key != towers[1].key


def test_a_narrowed_tower_is_not_widened_again() -> None:
    tower = load_image_tower(ImageTowerConfig(kind="tiny", dtype="bfloat16"))
    key = tower.key
    tower.to("cpu")
    assert tower.dtype == torch.bfloat16
    assert tower.key == key


def test_a_tower_is_no_module_that_an_optimizer_could_find() -> None:
    tower = load_image_tower(ImageTowerConfig(kind="tiny"))
    holder = torch.nn.Module()
    holder.tower = tower
    assert list(holder.parameters()) == []
    assert holder.state_dict() == {}


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("tgqformer.towers.load", ("torch", "numpy")),
        ("tgqformer.towers.cache", ("torch", "transformers")),
        ("tgqformer.towers.load", ("transformers",)),
    ],
)
def test_importing_a_module_pulls_in_nothing_heavy(module: str, absent: tuple[str, ...]) -> None:
    code = f"import sys, {module}; print([m for m in {absent!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
