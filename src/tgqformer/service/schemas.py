"""What requests hold. Anything unknown, of another type, or over a bound is refused with 422."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, model_validator

MAX_ID = 512
"""As in catalogs."""

Id: TypeAlias = Annotated[str, Field(min_length=1, max_length=MAX_ID, examples=["B07XJ8C8F5"])]
ModelName: TypeAlias = Annotated[
    str | None,
    Field(default=None, max_length=200, description="Which model; the first one where left out."),
]
Photo: TypeAlias = Annotated[
    str,
    Field(
        min_length=1,
        description="An encoded picture in base64, bare or as a data: URL; or, where the operator "
        "allows its host, an http(s) URL.",
    ),
]


class Body(BaseModel):
    """A part of a request: no unknown fields, no coercion, no NaN."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


def exactly_one(*names: str, at_most_one: tuple[str, ...] = ()) -> ConfigDict:
    """The rule that one of these fields is given, as the schema tells it; null is not given."""

    def alone(name: str, others: tuple[str, ...]) -> dict[str, Any]:
        absent = {other: {"type": "null"} for other in others if other != name}
        return {"required": [name], "properties": {name: {"not": {"type": "null"}}, **absent}}

    rules: dict[str, Any] = {"oneOf": [alone(name, names) for name in names]}
    if at_most_one:
        rules["anyOf"] = [{"properties": {name: {"type": "null"}}} for name in at_most_one]
    return ConfigDict(json_schema_extra=rules)


class ItemFields(Body):
    """An item as a shop knows it; every field may be missing."""

    title: str = Field("", max_length=10_000, examples=["Desk lamp, brass"])
    brand: str = Field("", max_length=1_000, examples=["Lux"])
    category: str = Field(
        "", max_length=2_000, description="A path from broad to narrow.",
        examples=["Home > Lighting > Lamp"],
    )  # fmt: skip
    attributes: dict[
        Annotated[str, Field(max_length=200)], Annotated[str, Field(max_length=2_000)]
    ] = Field({}, max_length=200, examples=[{"colour": "brass"}])
    price: float | None = Field(None, ge=0)
    in_stock: bool | None = None
    images: list[Photo] = Field([], max_length=64, description="Photos, best first.")


EachAlone = Field(union_mode="left_to_right")
"""Of a list's entries: one that is not of the type told is kept as it came, to be refused alone."""


class StoredItem(ItemFields):
    """An item to store."""

    id: Id


class ItemsRequest(Body):
    """Items to insert or replace, each whole."""

    items: list[Annotated[StoredItem | Any, EachAlone]] = Field(
        min_length=1, max_length=10_000, description="What is no StoredItem fails alone."
    )
    model: ModelName


class ItemPatch(Body):
    """Fields to change; what is left out stays. `attributes` and `images` are replaced whole."""

    title: str | None = Field(None, max_length=10_000)
    brand: str | None = Field(None, max_length=1_000)
    category: str | None = Field(None, max_length=2_000)
    attributes: (
        dict[Annotated[str, Field(max_length=200)], Annotated[str, Field(max_length=2_000)]] | None
    ) = Field(None, max_length=200)
    price: float | None = Field(None, ge=0, description="null: unknown from now on.")
    in_stock: bool | None = Field(None, description="null: unknown from now on.")
    images: list[Photo] | None = Field(None, max_length=64)
    model: ModelName


class Conditions(Body):
    """Which items may answer; every condition given must be met."""

    categories: list[Annotated[str, Field(max_length=2_000)]] = Field(
        [], max_length=1_000, description="In one of these or below it."
    )
    brands: list[Annotated[str, Field(max_length=1_000)]] = Field([], max_length=1_000)
    min_price: float | None = Field(None, description="Inclusive; an unknown price is in no range.")
    max_price: float | None = Field(None, description="Inclusive.")
    in_stock: bool | None = None


class WeightedId(Body):
    """A stored item and how much it counts; a negative weight leads away from it."""

    id: Id
    weight: float = Field(1.0, ge=-1_000, le=1_000)


class SimilarRequest(Body):
    """A query: exactly one of `id`, `ids`, `item` and `vector`."""

    model_config = exactly_one("id", "ids", "item", "vector")

    id: Id | None = Field(None, description="A stored item.")
    ids: list[Id | WeightedId] | None = Field(
        None, min_length=1, max_length=1_000,
        description="Stored items, whose vectors are added up with their weights.",
    )  # fmt: skip
    item: ItemFields | None = Field(None, description="An item that is embedded first.")
    vector: list[float] | None = Field(None, min_length=1, max_length=16_384)
    k: int = Field(10, ge=1, le=100_000)
    filter: Conditions | None = None
    exclude_self: bool = Field(True, description="Leave the items of `id` and `ids` out.")
    metadata: bool = Field(False, description="Tell title, brand, category, price and stock too.")
    blend: bool = Field(
        False,
        description="With `id`: what goes with it by the service's blended table leads, and "
        "content fills up. 409 where the service has no such table.",
    )
    model: ModelName

    @model_validator(mode="after")
    def _one_query(self) -> SimilarRequest:
        given = [n for n in ("id", "ids", "item", "vector") if getattr(self, n) is not None]
        if len(given) != 1:
            said = ", ".join(given) or "none of them"
            raise ValueError(f"give exactly one of id, ids, item and vector, not {said}")
        return self


class ImageUrl(Body):
    """As in OpenAI's content parts."""

    url: Photo
    detail: str | None = Field(None, max_length=20, description="Taken and not used.")


class TextPart(Body):
    """Text of an input."""

    type: Literal["text"]
    text: str = Field(max_length=10_000)


class ImagePart(Body):
    """A photo of an input."""

    type: Literal["image_url"]
    image_url: ImageUrl


Part: TypeAlias = Annotated[TextPart | ImagePart, Field(discriminator="type")]


class Content(Body):
    """An input made of content parts: the texts become the title, the pictures the photos."""

    content: list[Part] = Field(min_length=1, max_length=64)


Text: TypeAlias = Annotated[str, Field(max_length=10_000)]
EmbeddingInput: TypeAlias = (
    Text | ItemFields | Content | Annotated[list[Part], Field(min_length=1, max_length=64)]
)


class EmbeddingsRequest(Body):
    """In the shape of OpenAI's; a string is an item's title."""

    input: (
        Text
        | Annotated[
            list[Annotated[EmbeddingInput | Any, EachAlone]],
            Field(min_length=1, max_length=10_000, description="What is no input fails alone."),
        ]
    )
    model: ModelName
    dimensions: int | None = Field(
        None, ge=1, le=100_000, description="Keep the first so many, renormalised."
    )
    encoding_format: Literal["float", "base64"] = "float"
    user: str | None = Field(None, max_length=1_000, description="Taken and not used.")


class ExplainRequest(Body):
    """An item, by `id` or as `item`, and perhaps another, by `other_id` or as `other`."""

    model_config = exactly_one("id", "item", at_most_one=("other_id", "other"))

    id: Id | None = None
    item: ItemFields | None = None
    other_id: Id | None = None
    other: ItemFields | None = None
    model: ModelName

    @model_validator(mode="after")
    def _one_item(self) -> ExplainRequest:
        if (self.id is None) == (self.item is None):
            raise ValueError("give exactly one of id and item")
        if self.other_id is not None and self.other is not None:
            raise ValueError("give at most one of other_id and other")
        return self


class CorruptRequest(Body):
    """A photo, by the `id` of a stored item or as `image`, and what to lay over it."""

    model_config = exactly_one("id", "image")

    id: Id | None = None
    image: Photo | None = None
    kind: str = Field(max_length=100, examples=["banner"])
    severity: float = Field(0.5, ge=0, le=1)
    seed: int = Field(0, ge=0, le=2**53)
    size: int = Field(512, ge=32, le=2048, description="Longer side of the answer, at most.")
    model: ModelName

    @model_validator(mode="after")
    def _one_photo(self) -> CorruptRequest:
        if (self.id is None) == (self.image is None):
            raise ValueError("give exactly one of id and image")
        return self


class ErrorDetail(BaseModel):
    """Why not."""

    code: str = Field(examples=["invalid"])
    message: str = Field(description="One sentence with the value, the rule and the remedy.")
    param: str | None = Field(None, description="The part of the request that it speaks of.")


class ErrorBody(BaseModel):
    """Every refusal has this shape."""

    error: ErrorDetail


class Known(BaseModel):
    """What the store knows of an item beside its vector; "" and null stand for unknown."""

    title: str = ""
    brand: str = ""
    category: str = ""
    price: float | None = None
    in_stock: bool | None = None


class Hit(BaseModel):
    """A neighbour; its score is the cosine, or that of the blend where this is its source."""

    id: str
    score: float
    source: Literal["blend", "content"] | None = Field(
        None, description="With `blend`: the blended table, or the cosine alone."
    )
    metadata: Known | None = None


class SimilarAnswer(BaseModel):
    """Neighbours, best first; equal scores in the order of ids. Those of a blend come first."""

    results: list[Hit]
    weight: float | None = Field(
        None,
        description="With `blend`: what co-engagement counts against content in its neighbours, 0 "
        "to 1; left out where the table does not hold the item.",
    )
    unknown: list[str] = Field(description="Ids of the query that are not stored.")
    model: str


class EmbeddingObject(BaseModel):
    """One embedding, at the place of its input; base64 is of little-endian float32."""

    object: Literal["embedding"] = "embedding"
    index: int
    embedding: list[float] | str | None = Field(description="null where the input has an error.")
    error: ErrorDetail | None = Field(None, description="Why the input cannot be embedded.")


class Usage(BaseModel):
    """For clients that expect it; tokens are not counted."""

    prompt_tokens: int = 0
    total_tokens: int = 0


class EmbeddingsAnswer(BaseModel):
    """In the shape of OpenAI's: one entry for each input, in their order."""

    object: Literal["list"] = "list"
    data: list[EmbeddingObject]
    model: str
    failed: int = Field(
        0, description="Inputs with an error; where all have one, the answer is 422."
    )
    usage: Usage = Usage()


class ItemStatus(BaseModel):
    """What became of one item of a batch."""

    id: str | None = Field(description="null where the item tells none that can be used.")
    status: Literal["created", "updated", "failed"]
    error: ErrorDetail | None = None


class ItemsAnswer(BaseModel):
    """One status for each item, in the order of the request; where all fail, the answer is 422."""

    items: list[ItemStatus]
    failed: int
    model: str


class ItemAnswer(Known):
    """A stored item."""

    id: str
    attributes: dict[str, str] = {}
    photos: int = Field(0, description="How many; the first is at /v1/items/{id}/photo.")
    vector: list[float] | None = None
    model: str


class Deleted(BaseModel):
    """The item is gone."""

    id: str
    deleted: Literal[True] = True
    model: str


class Listed(Known):
    """An item in a list."""

    id: str


class ItemList(BaseModel):
    """Items `offset`, `offset + 1`, ... in the order of their ids."""

    items: list[Listed]
    total: int
    model: str


class Heatmap(BaseModel):
    """Attention over the item's first photo, row by row from the top; not negative, of sum 1."""

    rows: int
    columns: int
    values: list[list[float]]
    seen: float = Field(description="The share of the stream's attention that the values are.")
    window: list[float] = Field(
        description="x0, y0, x1, y1 of the grid as shares of the photo's width and height; beyond "
        "0..1 where the tower pads, within where it cuts."
    )


class Gate(BaseModel):
    """The factors by which a gate scales its stream; 1 leaves a channel as it is."""

    mean: float
    values: list[float] = Field(description="Quantiles over the channels, lowest first.")


class Word(BaseModel):
    """A word of the metadata."""

    text: str
    weight: float = Field(description="Its share of the anchored queries' attention.")


class ExplainAnswer(BaseModel):
    """Why an item's embedding is what it is, and how a pair's similarity comes about."""

    heatmaps: dict[str, Heatmap]
    gates: dict[str, Gate]
    agreement: float | None = Field(description="Cosine of photo and metadata.")
    words: list[Word] = Field(description="In the order of the metadata.")
    similarity: float | None = Field(description="Cosine of the pair.")
    shares: dict[str, float] = Field(
        description="baseline, image and text, which add up to the similarity."
    )
    notes: list[str] = Field(description="What is not there, and why.")
    model: str


class CorruptAnswer(BaseModel):
    """The photo as corrupted; base64 JPEG, which `images` takes as it is."""

    image: str
    media_type: Literal["image/jpeg"] = "image/jpeg"
    width: int
    height: int
    kind: str
    severity: float


class Corruptions(BaseModel):
    """What POST /v1/corrupt knows."""

    overlays: list[str]
    clutter: list[str]


class MapPoint(BaseModel):
    """An item on the map; x and y lie in -1..1."""

    id: str
    x: float
    y: float
    title: str = ""
    category: str = ""


class MapAnswer(BaseModel):
    """The catalog in two dimensions: the first principal components of a sample's vectors."""

    points: list[MapPoint]
    total: int = Field(description="Items in the store, of which the points are a sample.")
    explained: list[float] = Field(description="Share of the variance along x and y.")
    model: str


class ModelCard(BaseModel):
    """A served model; the first fields are as OpenAI's."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str = "tgqformer"
    dims: int
    items: int
    explains: bool
    blends: bool = Field(description="Whether POST /v1/similar takes `blend`.")
    index: str = Field(description="exact, hnsw or ivf: what answers searches now.")
    default: bool


class ModelList(BaseModel):
    """The served models, the default one first."""

    object: Literal["list"] = "list"
    data: list[ModelCard]


class Health(BaseModel):
    """Alive, or ready."""

    status: str
