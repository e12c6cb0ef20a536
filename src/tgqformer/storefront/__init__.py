"""A procedural shop: products, seller photos, metadata, and shoppers who click on them.

What it stands for. Whether an item can be matched depends on three things that no one source
tells: what it is (its category, told by the metadata and by the photo, if one knows which object
of the photo is for sale), who makes it (the brand's tier, told by the metadata only) and how it
looks (pattern and colourway, told by the photo only, and only by the right object in it). Photos
carry overlays and other products, metadata is sloppy, wrong or missing, and for every item the
regime, the hidden style and the boxes are recorded. So it can tell whether a connector finds the
product that the metadata speaks of, what overlays and clutter cost, and what wrong metadata does,
at any size, on any machine, without a download.

What makes it hard (drawing 2, the default). A third of the products in a cluttered photo that are
not for sale are of the same category as the one that is; in the regime `siblings` all of them are.
Which one is for sale the photo alone tells then: it stands in front, the others are behind it and
smaller. A third of the products come in families: two to four colourways under one title, of one
brand, shape and pattern. Clicks follow a law of popularity: a tenth of the products gets half of
what popularity decides, popular products have more positives, also in other tiers and colourways,
and what hardly anybody clicks on has few or none. Half of the photos with overlays have a banner
that names another category and another brand, and a quarter of the titles names things of other
categories.

Sisters are no positives of each other: shoppers look for a style, and a sister has another one. So
it is a near miss, which text cannot tell from the right one; that two sisters are clicked on
together by two shoppers, and become a pair, is as rare as for any two products that differ in the
colourway.

Held-out categories (`held_out`): no pair of theirs is trained on, all of their items are test
items. The others' splits do not change.

Drawing 1 is the shop as it was first drawn, which flatters what is led by the metadata: none of
the products around is of the own category, pattern or colourway, titles name nothing else, and all
products are alike in popularity. It stays, to the byte, for the figures that were made with it.

How far one source goes. In a shop of 5,000 items (seed 0, test queries, a random order among the
items that are alike), any of the right targets at rank 1 and among the first 10:

    ======================================  =====  =====  =========  =========
    who knows                               H@1    H@10   H@1 in 1   H@10 in 1
    ======================================  =====  =====  =========  =========
    category and tier (the metadata)          2 %   19 %        3 %       23 %
    pattern and colourway                     4 %   37 %        5 %       41 %
    group, pattern and colourway             23 %   94 %       26 %       97 %
    all of group, tier, pattern, colourway   86 %   99 %       98 %      100 %
    ======================================  =====  =====  =========  =========

As an item has five mates and its style comes in four tiers, H@10 hardly asks for the tier: H@1 and
recall do. In a smaller shop all of these are higher. What is missing from 100 % at H@1 are mates
that hardly anybody clicks on.

What it cannot stand for. Twenty drawn shapes are no world of products: the variety of real photos,
materials, poses, people, languages and brands is missing, titles are short and in English, and the
words never describe the look, which real ones often do. Shoppers follow a rule that is known to be
learnable, their taste does not change, popularity is by lot and shows nowhere but in the clicks,
and there is no price war or season. A figure measured here compares methods; it does not forecast
the figure on a real catalog.
"""

from tgqformer.storefront.draw import draw_storefront
from tgqformer.storefront.regimes import DRAWINGS, MARKET_SHARES, NOISES, REGIMES

__all__ = ["DRAWINGS", "MARKET_SHARES", "NOISES", "REGIMES", "draw_storefront"]
