"""Importers for the catalogs that people have.

Each is ``import_x(source, out, **options) -> Catalog``: it reads `source`, writes a catalog's
folder to `out` and returns the catalog, whose `quarantine` tells what was left out.
"""

from __future__ import annotations

from collections.abc import Callable

from tgqformer.catalog.catalog import Catalog
from tgqformer.catalog.importers.abo import import_abo
from tgqformer.catalog.importers.amazon import import_amazon2018, import_amazon2023
from tgqformer.catalog.importers.google_merchant import import_google_merchant
from tgqformer.catalog.importers.grocery import import_grocery
from tgqformer.catalog.importers.myntra import import_myntra
from tgqformer.catalog.importers.shopify import import_shopify
from tgqformer.catalog.importers.table import import_huggingface, import_table
from tgqformer.catalog.importers.woocommerce import import_woocommerce

IMPORTERS: dict[str, Callable[..., Catalog]] = {
    "table": import_table,
    "shopify": import_shopify,
    "google-merchant": import_google_merchant,
    "woocommerce": import_woocommerce,
    "huggingface": import_huggingface,
    "amazon2018": import_amazon2018,
    "amazon2023": import_amazon2023,
    "abo": import_abo,
    "myntra": import_myntra,
    "grocery": import_grocery,
}
"""Importers by the name that the command line knows them by."""
