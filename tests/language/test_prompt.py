"""From metadata to tokens: places, missing parts, text that looks like markup."""

from __future__ import annotations

import pytest

from tgqformer.errors import ConfigError
from tgqformer.language import (
    NOTELLM2_PROMPT,
    LanguageConfig,
    PromptBuilder,
    PromptConfig,
    load_tokenizer,
)

Q = 3
SEP, CLS, UNK = 2, 1, 3
TITLE = "red shoe"


@pytest.fixture
def builder(folder):
    def make(kind: str = "bert", **options: object) -> PromptBuilder:
        config = LanguageConfig(name=str(folder(kind)), prompt=PromptConfig(**options))
        return PromptBuilder(load_tokenizer(config), config.prompt, Q)

    return make


def words(builder: PromptBuilder, ids) -> str:
    return " ".join(builder.tokenizer.convert_ids_to_tokens(ids))


def rows(builder: PromptBuilder, texts, has_image) -> list[str]:
    """Each prompt as words, visual slots as <v>, padding left out."""
    batch = builder.build(texts, has_image)
    told = []
    for ids, mask, slots in zip(
        batch.input_ids.tolist(), batch.attention_mask.tolist(), batch.visual_slots.tolist()
    ):
        tokens = builder.tokenizer.convert_ids_to_tokens(ids)
        shown = ["<v>" if slot else token for token, slot in zip(tokens, slots)]
        told.append(" ".join(t for t, m in zip(shown, mask) if m))
    return told


def test_each_kind_of_item_has_a_prompt_of_its_own(builder):
    told = rows(builder(), [TITLE, "", TITLE, ""], [True, True, False, False])
    assert told == [
        "[CLS] photo : <v> <v> <v> product : red shoe [SEP]",
        "[CLS] photo : <v> <v> <v> [SEP]",
        "[CLS] product : red shoe [SEP]",
        "[CLS] unknown product [SEP]",
    ]


def test_decoders_get_their_own_ends(builder):
    assert rows(builder("qwen3"), [TITLE], [True]) == [
        "photo : <v> <v> <v> product : red shoe [SEP]"
    ]


def test_templates_may_turn_the_order_round(builder):
    turned = builder(both="the {text} of {image}")
    assert rows(turned, [TITLE], [True]) == ["[CLS] the red shoe of <v> <v> <v> [SEP]"]


def test_markup_in_a_title_stays_text(builder):
    """A seller's "[SEP]" must not close the prompt, nor "{image}" open a slot."""
    made = builder()
    batch = made.build(["red [SEP] [CLS] [PAD] shoe", "the {image} of {text}"], [True, True])
    for ids, mask, slots in zip(batch.input_ids, batch.attention_mask, batch.visual_slots):
        real = ids[mask.bool() & ~slots].tolist()
        assert (real.count(CLS), real.count(SEP)) == (1, 1)
        assert real[-1] == SEP
        assert int(slots.sum()) == Q
    assert SEP in made.build([TITLE], [True]).input_ids[0].tolist()  # its own end is still there


def test_markup_in_a_title_stays_text_in_bytes():
    config = LanguageConfig(kind="tiny")
    builder = PromptBuilder(load_tokenizer(config), config.prompt, Q)
    ids = builder.build(["a <eos> b <pad>"], [False]).input_ids[0].tolist()
    assert ids.count(257) == 1
    assert ids[-1] == 257
    assert 256 not in ids


def test_special_tokens_of_a_template_are_special(builder):
    made = builder(text_only="[CLS] {text} [SEP]")
    assert rows(made, [TITLE], [False]) == ["[CLS] [CLS] red shoe [SEP] [SEP]"]


def test_long_metadata_is_cut(builder):
    made = builder(max_tokens=4)
    ids = made.build(["shoe " * 50], [True]).input_ids[0].tolist()
    assert words(made, ids).count("shoe") == 4


def test_long_metadata_keeps_every_field(builder):
    made = builder(max_tokens=11)
    text = "shoe " * 50 + "; brand: red; category: lamp > shoe"
    [short, whole] = rows(made, [text, "red; brand: shoe"], [False, False])
    assert made.limit.fit(text) == "shoe shoe shoe; brand: red; category: shoe"
    assert short.count("shoe") == 4
    assert whole.count("shoe") == 1


@pytest.mark.parametrize("kind", ["bert", "qwen3"])
def test_longest_is_the_longest(builder, kind):
    made = builder(kind, max_tokens=5)
    batch = made.build(["shoe " * 9, "shoe " * 9, "", ""], [True, False, True, False])
    assert made.longest == batch.input_ids.shape[1]


def test_padding_is_on_the_right_and_masked(builder):
    batch = builder().build(["red", "red shoe of the lamp"], [True, True])
    short = batch.attention_mask[0].tolist()
    assert short == sorted(short, reverse=True)
    assert 0 < sum(short) < len(short)
    assert bool((batch.input_ids[0][batch.attention_mask[0] == 0] == 0).all())
    assert batch.visual_slots.sum(dim=1).tolist() == [Q, Q]


def test_no_metadata_at_all_in_a_batch(builder):
    assert rows(builder(), ["", ""], [False, False]) == ["[CLS] unknown product [SEP]"] * 2


@pytest.mark.parametrize("text", ["ж" * 9, "名稱", "a\u0000b", "\N{PILE OF POO}", "x" * 100_000])
def test_any_text_has_tokens(text):
    config = LanguageConfig(kind="tiny")
    builder = PromptBuilder(load_tokenizer(config), config.prompt, Q)
    ids = builder.build([text], [True]).input_ids
    assert int(ids.min()) >= 0
    assert int(ids.max()) < 258
    assert ids.shape[1] <= builder.longest


@pytest.mark.parametrize(
    ("name", "template"),
    [
        ("both", "only {text}"),
        ("both", "{image} {image} {text}"),
        ("image_only", "{image} {text}"),
        ("text_only", "nothing"),
        ("neither", "a {text}"),
    ],
)
def test_a_template_must_hold_what_it_is_for(name, template):
    with pytest.raises(ConfigError, match=rf"language.prompt.{name} .* must hold"):
        PromptConfig(**{name: template})


# -- as one text -----------------------------------------------------------------------------------

CORPUS = [
    "photo: product: Title unknown product",
    "Title of the Black Dress; brand: H&M; category: Ladies > Dress",
    "the red shoe, the blue shoe, compress into one word: note",
]
TITLES = ["Title", "Black Dress; brand: H&M", "the shoe", "&M of", "d", "名稱 red", "Title  of"]


def learned(kind: str):
    """A tokenizer of a family, with merges that it learned from a few words."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    special = ["<pad>", "<unk>", "<img>"]
    common = {"vocab_size": 400, "special_tokens": special, "show_progress": False}
    if kind == "wordpiece":
        backend = Tokenizer(models.WordPiece(unk_token="<unk>"))
        backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        trainer = trainers.WordPieceTrainer(**common)
    elif kind == "bytes":
        backend = Tokenizer(models.BPE())
        backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        trainer = trainers.BpeTrainer(
            **common, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
        )
    elif kind in ("gemma", "llama"):  # spaces become a sign; in Llama each text begins with one
        backend = Tokenizer(models.BPE(unk_token="<unk>"))
        first = [normalizers.Prepend("▁")] if kind == "llama" else []
        backend.normalizer = normalizers.Sequence([*first, normalizers.Replace(" ", "▁")])
        backend.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")  # in learning alone
        trainer = trainers.BpeTrainer(**common)
    else:  # T5, XLM-R
        backend = Tokenizer(models.Unigram())
        backend.pre_tokenizer = pre_tokenizers.Metaspace()
        trainer = trainers.UnigramTrainer(**common, unk_token="<unk>")
    backend.decoder = decoders.Fuse()
    backend.train_from_iterator(CORPUS * 20, trainer)
    if kind in ("gemma", "llama"):
        backend.pre_tokenizer = pre_tokenizers.Split("\n", "isolated")
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token="<pad>",
        unk_token="<unk>",
        clean_up_tokenization_spaces=False,
    )


@pytest.mark.parametrize("kind", ["bytes", "gemma", "llama", "unigram", "wordpiece"])
def test_a_prompt_is_tokenized_as_the_one_text_that_it_is(kind):
    tokenizer = learned(kind)
    made = PromptBuilder(tokenizer, PromptConfig(), Q)
    batch = made.build([*TITLES, *TITLES, "", ""], [False, True] * (len(TITLES) + 1))
    order = [*TITLES, *TITLES, "", ""]
    for n, text in enumerate(order):
        image = bool(n % 2)
        real = batch.attention_mask[n].bool() & ~batch.visual_slots[n]
        words = f"product: {text}" if text else ("" if image else "unknown product")
        whole = f"photo: {words}".rstrip() if image else words
        asked = tokenizer(whole, add_special_tokens=False)["input_ids"]
        assert batch.input_ids[n][real].tolist() == asked, whole
        if image:  # and the photo stands behind "photo:"
            before = batch.visual_slots[n].long().argmax()
            assert (
                batch.input_ids[n][:before].tolist()
                == tokenizer("photo:", add_special_tokens=False)["input_ids"]
            )


def test_a_word_is_read_with_the_space_before_it():
    tokenizer = learned("bytes")
    made = PromptBuilder(tokenizer, PromptConfig(), Q)
    tokens = tokenizer.convert_ids_to_tokens(made.build(["Title"], [False]).input_ids[0].tolist())
    assert tokens[-1] == "ĠTitle"
    assert made.limit.count("Title") == 1


@pytest.mark.parametrize("kind", ["bytes", "gemma", "llama", "unigram", "wordpiece"])
@pytest.mark.parametrize("templates", [{}, NOTELLM2_PROMPT])
def test_no_prompt_is_longer_than_the_longest(kind, templates):
    made = PromptBuilder(learned(kind), PromptConfig(**templates, max_tokens=7), Q)
    texts = [t * n for t in TITLES for n in (1, 2, 5, 40)]
    for image in (True, False):
        assert max(made.lengths(texts, [image] * len(texts))) <= made.longest
    assert all(made.limit.count(made.limit.fit(text)) <= 7 for text in texts)


def test_the_answer_is_no_place_to_go_on_from():
    """No token lies across it: what stands before it is read alone."""
    made = PromptBuilder(learned("gemma"), PromptConfig(**NOTELLM2_PROMPT), Q)
    batch = made.build(["Title"], [True])
    both = PromptConfig(**NOTELLM2_PROMPT).both.partition("{answer}")[0]
    alone = made.tokenizer(both.replace(" {image}", ""), add_special_tokens=False)["input_ids"]
    first = batch.first_part[0] & ~batch.visual_slots[0]
    assert batch.input_ids[0][first].tolist() == alone


# -- two parts ------------------------------------------------------------------------------------

TWO_PARTS = {
    "both": "photo {image} {answer} product {text} of",
    "image_only": "photo {image} {answer} unknown",
    "text_only": "unknown {answer} product {text} of",
    "neither": "unknown {answer} unknown",
}


@pytest.mark.parametrize(("kind", "opening"), [("bert", "[CLS] "), ("qwen3", "")])
def test_the_answer_cuts_a_prompt_in_two_and_takes_no_token(builder, kind, opening):
    made = builder(kind, **TWO_PARTS)
    texts, has_image = [TITLE, "", TITLE, ""], [True, True, False, False]
    parts = ["photo <v> <v> <v>", "photo <v> <v> <v>", "unknown", "unknown"]
    rest = ["product red shoe of", "unknown", "product red shoe of", "unknown"]
    assert rows(made, texts, has_image) == [
        f"{opening}{a} {b} [SEP]" for a, b in zip(parts, rest, strict=True)
    ]
    batch = made.build(texts, has_image)
    for row, part in zip(batch.first_part, parts, strict=True):
        length = len((opening + part).split())
        assert row.tolist() == [i < length for i in range(len(row))]


def test_a_prompt_of_one_part_has_no_first_one(builder):
    assert not bool(builder().build([TITLE, ""], [True, False]).first_part.any())
    assert not PromptConfig().two_parts


def test_notellm2s_prompt_keeps_the_rules():
    assert PromptConfig(**NOTELLM2_PROMPT).two_parts


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"both": "photo {image} product {text}"}, r"must hold \{answer\} 0 time"),
        ({"neither": "nothing"}, r"must hold \{answer\} 1 time"),
        ({"both": "a {image} {answer} b {answer} {text}"}, r"must hold \{answer\} 1 time"),
        ({"both": "a {text} {answer} b {image}"}, r"must have \{image\} before \{answer\}"),
        ({"image_only": "a {answer} {image} b"}, r"must have \{image\} before \{answer\}"),
        ({"neither": "unknown {answer} "}, "must have words before"),
        ({"text_only": "{answer} product {text}"}, "must have words before"),
        ({"image_only": "{image} {answer} product"}, "must have words before"),
    ],
)
def test_a_prompt_in_two_parts_is_so_in_all_templates(change, rule):
    with pytest.raises(ConfigError, match=rf"language.prompt.\w+ .* {rule}"):
        PromptConfig(**{**TWO_PARTS, **change})


# -- parts that are never read --------------------------------------------------------------------


def test_without_visual_tokens_every_item_is_one_without_photo(folder):
    config = LanguageConfig(name=str(folder("bert")))
    made = PromptBuilder(load_tokenizer(config), config.prompt, 0)
    told = ["[CLS] product : red shoe [SEP]", "[CLS] unknown product [SEP]"]
    assert rows(made, [TITLE, ""], [True, True]) == rows(made, [TITLE, ""], [False, False]) == told


def test_where_the_text_is_not_read_every_item_is_one_without_metadata(folder):
    config = LanguageConfig(name=str(folder("bert")))
    made = PromptBuilder(load_tokenizer(config), config.prompt, Q, reads_text=False)
    assert rows(made, [TITLE, TITLE], [True, False]) == [
        "[CLS] photo : <v> <v> <v> [SEP]",
        "[CLS] unknown product [SEP]",
    ]
    assert made.longest == 7
