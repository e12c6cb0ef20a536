"""What the shop sells, and what sellers write of it, with the sloppiness of a marketplace.

There are 20 categories in 5 groups, and 24 brands in 4 tiers that make them. No word for a colour
or a pattern is ever written, and nothing here depends on the hidden style: titles, attributes and
prices are drawn from streams that know category and brand only.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from tgqformer.corruption.canvas import chance, pick, sample, uniform

FAULTS = ("wrong_category", "wrong_brand", "missing_title", "missing_brand", "title_only_spam")


@dataclass(frozen=True, slots=True)
class Category:
    """One kind of product.

    Attributes:
        name: key of SHAPES and the last step of the path.
        group: what shoppers browse within.
        path: as in `Item.category`.
        nouns: what sellers call it, the usual word first.
        features: what may follow "with" in a title.
        materials, sizes: values of the attributes of these names.
        price: the usual price in the second tier.
    """

    name: str
    group: str
    path: str
    nouns: tuple[str, ...]
    features: tuple[str, ...]
    materials: tuple[str, ...]
    sizes: tuple[str, ...]
    price: float


def _category(
    path: str, nouns: str, features: str, materials: str, sizes: str, price: float
) -> Category:
    steps = path.split(" > ")
    words, extras, made_of, measures = (
        tuple(text.split(", ")) for text in (nouns, features, materials, sizes)
    )
    return Category(steps[-1], steps[0], path, words, extras, made_of, measures, price)


CATEGORIES: tuple[Category, ...] = (
    _category(
        "Home > Lighting > Table Lamps",
        "table lamp, desk lamp, bedside lamp, night lamp",
        "switch, dimmer, USB port, fabric shade, LED bulb",
        "metal, ceramic, linen, bamboo",
        "32 cm, 38 cm, 45 cm, 52 cm",
        35,
    ),
    _category(
        "Home > Seating > Armchairs",
        "armchair, lounge chair, accent chair, easy chair",
        "armrests, removable cover, lumbar support, firm seat, storage pocket",
        "polyester, velvet, cotton blend, linen",
        "70 cm, 78 cm, 85 cm, 92 cm",
        190,
    ),
    _category(
        "Home > Decor > Vases",
        "vase, decorative vase, centrepiece vase, home vase",
        "wide neck, non-slip foot, glazed finish, gift box, narrow neck",
        "ceramic, stoneware, glass, resin",
        "20 cm, 26 cm, 31 cm, 40 cm",
        28,
    ),
    _category(
        "Home > Textiles > Cushions",
        "cushion, throw pillow, sofa pillow, scatter cushion",
        "insert, hidden zip, piping, washable cover, soft filling",
        "cotton, polyester, linen, velvet",
        "40 cm, 45 cm, 50 cm, 60 cm",
        18,
    ),
    _category(
        "Kitchen > Drinkware > Mugs",
        "mug, coffee mug, tea cup, coffee cup",
        "large handle, lid, spoon, gift box, thick wall",
        "porcelain, stoneware, enamel, bone china",
        "300 ml, 350 ml, 420 ml, 500 ml",
        12,
    ),
    _category(
        "Kitchen > Tea & Coffee > Teapots",
        "teapot, tea pot, tea kettle, brewing pot",
        "infuser, strainer, warm handle, lid, drip-free spout",
        "porcelain, cast iron, stoneware, enamel",
        "600 ml, 800 ml, 1 l, 1.2 l",
        30,
    ),
    _category(
        "Kitchen > Tableware > Plates",
        "dinner plate, plate, serving plate, side plate",
        "raised rim, glazed finish, anti-scratch surface, deep centre, gift box",
        "porcelain, stoneware, melamine, bone china",
        "20 cm, 24 cm, 27 cm, 30 cm",
        14,
    ),
    _category(
        "Kitchen > Linen > Oven Gloves",
        "oven glove, oven mitt, baking glove, kitchen mitt",
        "hanging loop, silicone grip, long cuff, cotton lining, heat shield",
        "cotton, quilted cotton, silicone, neoprene",
        "28 cm, 32 cm, 35 cm, 38 cm",
        11,
    ),
    _category(
        "Fashion > Bags > Backpacks",
        "backpack, rucksack, daypack, school bag",
        "laptop sleeve, side pockets, padded straps, chest strap, rain cover",
        "polyester, nylon, canvas, recycled PET",
        "12 l, 18 l, 22 l, 28 l",
        45,
    ),
    _category(
        "Fashion > Tops > T-Shirts",
        "T-shirt, tee, short top, jersey top",
        "ribbed collar, side slits, soft touch, relaxed fit, reinforced seams",
        "cotton, organic cotton, modal, jersey",
        "S, M, L, XL",
        17,
    ),
    _category(
        "Fashion > Footwear > Sneakers",
        "sneaker, trainer, sports shoe, casual shoe",
        "memory foam, rubber sole, padded heel, arch support, breathable lining",
        "canvas, mesh, leather, suede",
        "EU 37, EU 39, EU 41, EU 43",
        55,
    ),
    _category(
        "Fashion > Clothing > Dresses",
        "dress, summer dress, day dress, midi dress",
        "pockets, belt, lining, back zip, stretch waist",
        "viscose, cotton, linen, jersey",
        "S, M, L, XL",
        42,
    ),
    _category(
        "Kids > Soft Toys > Teddy Bears",
        "teddy bear, plush bear, cuddly bear, stuffed bear",
        "soft filling, embroidered eyes, sitting pose, gift tag, movable arms",
        "plush, cotton, fleece, organic cotton",
        "22 cm, 30 cm, 38 cm, 50 cm",
        20,
    ),
    _category(
        "Kids > Vehicles > Toy Cars",
        "toy car, play car, toy vehicle, push car",
        "free wheels, pull-back motor, opening doors, rubber tyres, sound",
        "wood, ABS plastic, tinplate, die-cast metal",
        "9 cm, 14 cm, 20 cm, 26 cm",
        15,
    ),
    _category(
        "Kids > Outdoor Play > Kites",
        "kite, flying kite, single line kite, children's kite",
        "tail, 30 m line, winder, carry bag, fibreglass frame",
        "ripstop nylon, polyester, taffeta, paper",
        "70 cm, 90 cm, 120 cm, 140 cm",
        16,
    ),
    _category(
        "Kids > Bath Toys > Toy Boats",
        "toy boat, bath boat, play ship, floating boat",
        "mast, wind-up motor, figure, smooth edges, water pump",
        "wood, ABS plastic, cork, natural rubber",
        "15 cm, 20 cm, 25 cm, 32 cm",
        17,
    ),
    _category(
        "Outdoor > Camping > Tents",
        "tent, camping tent, trekking tent, festival tent",
        "mosquito net, carry bag, aluminium poles, taped seams, porch",
        "polyester, ripstop nylon, canvas, polycotton",
        "1 person, 2 person, 3 person, 4 person",
        110,
    ),
    _category(
        "Outdoor > Rain Gear > Umbrellas",
        "umbrella, rain umbrella, stick umbrella, storm umbrella",
        "wooden handle, automatic opening, wind vents, sleeve, fibreglass ribs",
        "pongee, polyester, nylon, recycled PET",
        "95 cm, 105 cm, 115 cm, 130 cm",
        22,
    ),
    _category(
        "Outdoor > Gardening > Watering Cans",
        "watering can, garden can, plant waterer, sprinkling can",
        "sprinkler head, long spout, double handle, litre scale, narrow spout",
        "galvanised steel, zinc, plastic, enamel",
        "1.5 l, 3 l, 5 l, 8 l",
        24,
    ),
    _category(
        "Outdoor > Water Sports > Surfboards",
        "surfboard, surf board, foam board, wave board",
        "leash, removable fin, soft deck, traction pad, board bag",
        "epoxy, EPS foam, fibreglass, bamboo",
        "150 cm, 180 cm, 210 cm, 240 cm",
        160,
    ),
)
GROUPS: tuple[str, ...] = tuple(dict.fromkeys(c.group for c in CATEGORIES))
BRANDS: tuple[tuple[str, ...], ...] = (
    ("Brixo", "Dapno", "Pennivo", "Okelo", "Tavvi", "Zimro"),
    ("Harlun", "Corvane", "Meddin", "Solvik", "Trestan", "Wendale"),
    ("Lumora", "Averline", "Castelune", "Norvane", "Pelisse", "Quillon"),
    ("Maison Orel", "Atelier Vess", "Kestrin", "Studio Ondre", "Casa Ferrano", "Orsenne"),
)
"""Brand names by tier, 0 the cheapest. Nothing but the name tells the tier."""
PRICE_FACTORS = (0.65, 0.95, 1.35, 2.0)
"""How prices follow the tier; the spread within a tier is wider than the steps."""
PACKS = ("1 piece", "1 piece", "1 piece", "2-pack", "set of 2", "set of 4")
ADJECTIVES = ("modern", "classic", "premium", "handmade", "everyday", "lightweight", "large", "")
SPAM = (
    "HOT SALE",
    "Free Shipping",
    "NEW 2025",
    "best gift",
    "top quality!!",
    "[In stock]",
    "1st choice",
    "limited offer",
    "***",
)
ABBREVIATIONS = (
    (" with ", " w/ "),
    (" piece", " pc"),
    ("set of 2", "2pcs set"),
    ("set of 4", "4pcs set"),
    ("premium", "prem."),
    ("removable", "remov."),
    ("polyester", "polyest."),
    ("cotton", "cott."),
)
STUFFINGS = (
    "{title}, not {a}, gift for {b} lovers",
    "{title}, not {a}",
    "{title}, goes with {a}",
    "{title}, gift for {a} lovers",
    "{title} | {a} | {b} | {c}",
    "{title} {a} {b}",
    "{a} {b} {title}",
    "{a}, {b}, {c}: {title}",
    "for {a} fans: {title}",
)
SLOGANS = (
    "{kind} by {brand}",
    "{brand} {kind}",
    "NEW: {kind} by {brand}",
    "{brand} - all {kind} -30%",
    "Visit {brand} for {kind}",
)


@dataclass(frozen=True, slots=True)
class Metadata:
    """The text side of an item, as `Item` takes it."""

    title: str
    brand: str
    category: str
    attributes: dict[str, str]
    price: float


def write_metadata(category: Category, brand: str, tier: int, rng: np.random.Generator) -> Metadata:
    """Return what an ordinary, slightly sloppy seller writes about a product."""
    noun = category.nouns[0] if chance(rng, 0.5) else pick(rng, category.nouns)
    material, size, pack = (
        pick(rng, category.materials),
        pick(rng, category.sizes),
        pick(rng, PACKS),
    )
    feature, adjective = pick(rng, category.features), pick(rng, ADJECTIVES)
    attributes = {"material": material, "size": size, "pack": pack}
    attributes["features"] = feature
    title = _compose(noun, material, size, pack, feature, adjective, rng)
    if not chance(rng, 0.1):
        title = f"{brand} {title}"
    title = _make_sloppy(title, rng)
    for name in list(attributes):
        if chance(rng, 0.12):
            del attributes[name]
    return Metadata(title, brand, category.path, attributes, _price(category, tier, rng))


def _compose(
    noun: str,
    material: str,
    size: str,
    pack: str,
    feature: str,
    adjective: str,
    rng: np.random.Generator,
) -> str:
    words = [adjective] if adjective and chance(rng, 0.6) else []
    if chance(rng, 0.4):
        words.append(material)
    words.append(noun)
    if chance(rng, 0.6):
        words.append(f"with {feature}")
    title = " ".join(words)
    if chance(rng, 0.35):
        title += f", {size}"
    if chance(rng, 0.4):
        title += f", {pack}"
    return title


def _make_sloppy(title: str, rng: np.random.Generator) -> str:
    if chance(rng, 0.2):
        for long, short in ABBREVIATIONS:
            title = title.replace(long, short)
    if chance(rng, 0.14):
        title = f"{pick(rng, SPAM)} {title}" if chance(rng, 0.5) else f"{title} {pick(rng, SPAM)}"
    if chance(rng, 0.06):
        at = int(rng.integers(1, max(2, len(title) - 2)))
        title = title[:at] + title[at + 1 : at + 2] + title[at : at + 1] + title[at + 2 :]
    if chance(rng, 0.06):
        title = title.upper()
    return title[:1].upper() + title[1:]


def stuff_title(
    metadata: Metadata, category: Category, share: float, rng: np.random.Generator
) -> tuple[Metadata, tuple[str, ...]]:
    """Return the metadata, in a share of all cases its title stuffed, and what was put in.

    What sellers add to be found by more searches: one to three nouns of other categories, before
    the title or behind it.
    """
    if not chance(rng, share):
        return metadata, ()
    others = sample([c for c in CATEGORIES if c != category], 3, rng)
    a, b, c = (pick(rng, other.nouns) for other in others)
    form = pick(rng, STUFFINGS)
    title = form.format(title=metadata.title, a=a, b=b, c=c)
    used = tuple(noun for name, noun in (("{a}", a), ("{b}", b), ("{c}", c)) if name in form)
    return replace(metadata, title=title[:1].upper() + title[1:]), used


def write_slogan(category: str, brand: str, rng: np.random.Generator) -> str:
    """Return words for an overlay, which name another category and brand than those given."""
    kind = pick(rng, [c.name for c in CATEGORIES if c.name != category])
    maker = pick(rng, [b for tier in BRANDS for b in tier if b != brand])
    return pick(rng, SLOGANS).format(kind=kind, brand=maker)


def _price(category: Category, tier: int, rng: np.random.Generator) -> float:
    spread = sum(uniform(rng, -0.45, 0.45) for _ in range(3))
    return float(max(1, round(category.price * PRICE_FACTORS[tier] * math.exp(spread)))) - 0.01


def spoil_metadata(
    right: Metadata, category: Category, tier: int, rng: np.random.Generator
) -> tuple[Metadata, list[str]]:
    """Return metadata with one or two faults, and the faults' names from FAULTS.

    A wrong category comes from another group, and the title goes along with it half the time; a
    wrong brand comes from another tier, and stands in the title too.
    """
    faults = sample(FAULTS, 2 if chance(rng, 0.3) else 1, rng)
    if "missing_brand" in faults and "wrong_brand" in faults:
        faults.remove("missing_brand")
    if "missing_title" in faults and "title_only_spam" in faults:
        faults.remove("title_only_spam")
    result = right
    if "wrong_category" in faults:
        other = pick(rng, [c for c in CATEGORIES if c.group != category.group])
        result = replace(result, category=other.path)
        if chance(rng, 0.5):
            result = replace(
                result, title=write_metadata(other, right.brand, tier, rng).title, attributes={}
            )
    if "wrong_brand" in faults:
        brand = pick(rng, BRANDS[pick(rng, [t for t in range(len(BRANDS)) if t != tier])])
        title = _without(result.title, right.brand, brand)
        result = replace(result, brand=brand, title=title)
    if "missing_brand" in faults:
        result = replace(result, brand="", title=_without(result.title, right.brand, ""))
    if "missing_title" in faults:
        result = replace(result, title="")
    if "title_only_spam" in faults:
        result = replace(result, title=" ".join(sample(SPAM, 3, rng)))
    return result, sorted(faults)


def _without(title: str, brand: str, instead: str) -> str:
    for form in (brand, brand.upper()):
        title = title.replace(form, instead)
    return " ".join(title.split())
