"""Every category's outline: ``(silhouette 0..2, jitter) -> parts``, by the category's name."""

from __future__ import annotations

from collections.abc import Callable

from tgqformer.storefront.geometry import Jitter, Part
from tgqformer.storefront.shapes import fashion, home, kids, kitchen, outdoor

SILHOUETTES = 3

SHAPES: dict[str, Callable[[int, Jitter], list[Part]]] = {
    "Table Lamps": home.table_lamp,
    "Armchairs": home.armchair,
    "Vases": home.vase,
    "Cushions": home.cushion,
    "Mugs": kitchen.mug,
    "Teapots": kitchen.teapot,
    "Plates": kitchen.plate,
    "Oven Gloves": kitchen.oven_glove,
    "Backpacks": fashion.backpack,
    "T-Shirts": fashion.t_shirt,
    "Sneakers": fashion.sneaker,
    "Dresses": fashion.dress,
    "Teddy Bears": kids.teddy_bear,
    "Toy Cars": kids.toy_car,
    "Kites": kids.kite,
    "Toy Boats": kids.toy_boat,
    "Tents": outdoor.tent,
    "Umbrellas": outdoor.umbrella,
    "Watering Cans": outdoor.watering_can,
    "Surfboards": outdoor.surfboard,
}
