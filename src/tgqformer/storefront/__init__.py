"""A procedural shop: products, seller photos, metadata, and shoppers who click on them.

What it stands for. Whether an item can be matched depends on three things that no one source
tells: what it is (its category, told by the metadata and by the photo, if one knows which object
of the photo is for sale), who makes it (the brand's tier, told by the metadata only) and how it
looks (pattern and colourway, told by the photo only, and only by the right object in it). Photos
carry overlays and other products, metadata is sloppy, wrong or missing, and for every item the
regime, the hidden style and the boxes are recorded. So it can tell whether a connector finds the
product that the metadata speaks of, what overlays and clutter cost, and what wrong metadata does,
at any size, on any machine, without a download.

How far one source goes. In a shop of 5,000 items (seed 0, test queries, a random order among the
items that are alike), any of the right targets at rank 1 and among the first 10:

    ======================================  =====  =====
    who knows                               H@1    H@10
    ======================================  =====  =====
    category and tier (the metadata)          2 %   23 %
    pattern and colourway                     5 %   43 %
    group, pattern and colourway             26 %   96 %
    all of group, tier, pattern, colourway   98 %  100 %
    ======================================  =====  =====

As an item has five mates and its style comes in four tiers, H@10 hardly asks for the tier: H@1 and
recall do. In a smaller shop all of these are higher.

What it cannot stand for. Twenty drawn shapes are no world of products: the variety of real photos,
materials, poses, people, languages and brands is missing, titles are short and in English, and the
words never describe the look, which real ones often do. Shoppers follow a rule that is known to be
learnable, their taste does not change, and there is no popularity, price war or season. A figure
measured here compares methods; it does not forecast the figure on a real catalog.
"""

from tgqformer.storefront.draw import draw_storefront
from tgqformer.storefront.regimes import MARKET_SHARES, NOISES, REGIMES
from tgqformer.storefront.sheet import contact_sheet

__all__ = ["MARKET_SHARES", "NOISES", "REGIMES", "contact_sheet", "draw_storefront"]
