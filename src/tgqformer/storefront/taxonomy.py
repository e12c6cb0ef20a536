"""What the shop sells: 20 categories in 5 groups, and the 24 brands in 4 tiers that make them."""

from __future__ import annotations

from dataclasses import dataclass


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
