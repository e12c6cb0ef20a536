"""The commands, in the order in which a newcomer meets them: name to ``module:function``.

A module here imports click and nothing heavier at its top, so that ``--help`` stays quick; what a
command needs is imported when it runs.
"""

COMMANDS = {
    "demo": "tgqformer.cli.demo:demo",
    "storefront": "tgqformer.cli.storefront:storefront",
    "import": "tgqformer.cli.import_catalog:import_catalog",
    "download-images": "tgqformer.cli.download_images:download_images",
    "corrupt": "tgqformer.cli.corrupt:corrupt",
    "validate": "tgqformer.cli.validate:validate",
    "pairs": "tgqformer.cli.pairs:pairs",
    "train": "tgqformer.cli.train:train",
    "evaluate": "tgqformer.cli.evaluate:evaluate",
    "compare": "tgqformer.cli.compare:compare",
    "embed": "tgqformer.cli.embed:embed",
    "similar": "tgqformer.cli.similar:similar",
    "neighbors": "tgqformer.cli.neighbors:neighbors",
    "blend": "tgqformer.cli.blend:blend",
    "semantic-ids": "tgqformer.cli.semantic_ids:semantic_ids",
    "index": "tgqformer.cli.index:index",
    "serve": "tgqformer.cli.serve:serve",
    "explain": "tgqformer.cli.explain:explain",
    "pointing": "tgqformer.cli.pointing:pointing",
    "audit": "tgqformer.cli.audit:audit",
    "flops": "tgqformer.cli.flops:flops",
    "presets": "tgqformer.cli.presets:presets",
    "doctor": "tgqformer.cli.doctor:doctor",
}
