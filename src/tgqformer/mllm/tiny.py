"""Random vision-language models, written in a moment: the fakes beside the real.

A folder with config, weights, byte tokenizer, chat template and Pillow image processor, of which
everything goes the way of the published models: nothing in the embedder knows that they are small.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from tgqformer.errors import ConfigError
from tgqformer.mllm.processing import processor_class, without_video
from tgqformer.packaged import quiet_loading
from tgqformer.towers.hub import build_random

TEXT = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "max_position_embeddings": 2048,
    "pad_token_id": 256,
    "bos_token_id": 257,
    "eos_token_id": 257,
}
TURNS = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n"
    "{% for part in message.content %}{% if part.type == 'image' %}IMAGE"
    "{% else %}{{ part.text }}{% endif %}{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
QWEN_MARKS = [
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image_pad|>",
    "<|video_pad|>",
]
INTERNVL_MARKS = {
    "start_image_token": "<img>",
    "end_image_token": "</img>",
    "context_image_token": "<IMG_CONTEXT>",
    "video_token": "<video>",
}


def save_tiny_mllm(path: Path | str, family: Literal["qwen3_vl", "internvl"]) -> Path:
    """Write a random model of a family to `path`, the same one every time.

    The Qwen3-VL has patches of 8 px and merges four: a photo of 64 x 32 px is 8 image tokens. The
    InternVL reads tiles of 32 px as 4 image tokens.

    Raises:
        ConfigError: the family is another.
    """
    makers = {"qwen3_vl": _qwen, "internvl": _internvl}
    if family not in makers:
        raise ConfigError(f"There is no tiny {family!r}; choose one of {', '.join(makers)}.")
    settings, processor = makers[family]()
    from transformers import AutoModelForImageTextToText

    path = Path(path)
    with quiet_loading():
        build_random(AutoModelForImageTextToText, settings).save_pretrained(path)
        processor.save_pretrained(path)
    return path


def _qwen() -> tuple[Any, Any]:
    from transformers import Qwen3VLConfig
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    tokenizer = _tokenizer(QWEN_MARKS)
    mark = dict(zip(QWEN_MARKS, tokenizer.convert_tokens_to_ids(QWEN_MARKS), strict=True))
    settings = Qwen3VLConfig(
        vision_config={
            "depth": 3,
            "hidden_size": 24,
            "intermediate_size": 32,
            "num_heads": 2,
            "patch_size": 8,
            "num_position_embeddings": 16,
            "out_hidden_size": 32,
            "deepstack_visual_indexes": [0, 1],
        },
        text_config={
            **TEXT,
            "vocab_size": len(tokenizer),
            "head_dim": 16,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 1e4,
                "mrope_section": [4, 2, 2],
            },
        },
        image_token_id=mark["<|image_pad|>"],
        video_token_id=mark["<|video_pad|>"],
        vision_start_token_id=mark["<|vision_start|>"],
        vision_end_token_id=mark["<|vision_end|>"],
    )
    processor = without_video(processor_class("tiny", "qwen3_vl"))(
        image_processor=Qwen2VLImageProcessorPil(
            patch_size=8, size={"shortest_edge": 256, "longest_edge": 16384}
        ),
        tokenizer=tokenizer,
        chat_template=TURNS.replace("IMAGE", "<|vision_start|><|image_pad|><|vision_end|>"),
    )
    return settings, processor


def _internvl() -> tuple[Any, Any]:
    from transformers import InternVLConfig
    from transformers.models.got_ocr2.image_processing_pil_got_ocr2 import (
        GotOcr2ImageProcessorPil,
    )

    tokenizer = _tokenizer(
        ["<|im_start|>", "<|im_end|>", *INTERNVL_MARKS.values()],
        extra_special_tokens=INTERNVL_MARKS,
    )
    settings = InternVLConfig(
        vision_config={
            "hidden_size": 24,
            "intermediate_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": [32, 32],
            "patch_size": [8, 8],
        },
        text_config={"model_type": "qwen2", **TEXT, "vocab_size": len(tokenizer)},
        image_token_id=tokenizer.convert_tokens_to_ids("<IMG_CONTEXT>"),
        image_seq_length=4,
    )
    processor = without_video(processor_class("tiny", "internvl"))(
        image_processor=GotOcr2ImageProcessorPil(size={"height": 32, "width": 32}),
        tokenizer=tokenizer,
        image_seq_length=4,
        chat_template=TURNS.replace("IMAGE", "<IMG_CONTEXT>\n"),
    )
    return settings, processor


def _tokenizer(marks: list[str], **named: Any) -> Any:
    """One token a byte, ids 0-255, then <pad> 256, <eos> 257 and the special tokens."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {symbol: i for i, symbol in enumerate(alphabet)} | {"<pad>": 256, "<eos>": 257}
    backend = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.add_special_tokens(marks)
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token="<pad>",
        eos_token="<eos>",
        clean_up_tokenization_spaces=False,
        **named,
    )
