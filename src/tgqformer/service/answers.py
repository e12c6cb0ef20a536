"""What answers hold."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field


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
    """A neighbour; its score is the cosine."""

    id: str
    score: float
    metadata: Known | None = None


class SimilarAnswer(BaseModel):
    """Neighbours, best first; equal scores in the order of ids."""

    results: list[Hit]
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
    index: str = Field(description="exact, hnsw or ivf: what answers searches now.")
    default: bool


class ModelList(BaseModel):
    """The served models, the default one first."""

    object: Literal["list"] = "list"
    data: list[ModelCard]


class Health(BaseModel):
    """Alive, or ready."""

    status: str
