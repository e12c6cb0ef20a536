"""Write docs/benchmarks.md from the figures in benchmarks/results.

    python benchmarks/page.py [--check]

A benchmark that has not run is named as such. `--check` writes nothing and fails where the page is
not what the figures give.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tgqformer.files import write_text

HERE = Path(__file__).parent
RESULTS, PAGE = HERE / "results", HERE.parent / "docs" / "benchmarks.md"
SIDECAR = {
    "milliseconds": "ms",
    "exact_milliseconds": "exact ms",
    "build_seconds": "build s",
    "peak_megabytes": "peak MB",
}
Figures = dict[str, Any]


def main() -> None:
    text = page()
    if "--check" in sys.argv:
        sys.exit(PAGE.read_text(encoding="utf-8") != text and f"{PAGE} is stale; run {sys.argv[0]}")
    write_text(PAGE, text)


def page() -> str:
    busy = any(entry["machine"]["load_average"] > 3 for entry in everything())
    parts = [HEAD, BUSY * busy, machine(), *(section(*entry) for entry in SECTIONS)]
    return "\n\n".join(part.strip() for part in parts if part) + "\n"


def everything() -> list[Figures]:
    found = (read(path.stem) for path in sorted(RESULTS.glob("*.json")))
    return [entry for entry in found if entry]


def read(name: str) -> Figures | None:
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def section(title: str, about: str, names: str, write: Any) -> str:
    """A heading, what is measured, and for each file of figures a table and its command."""
    parts = [f"## {title}", about]
    for name in names.split():
        found = read(name)
        if found is None:
            parts.append(f"`{name}.json`: **this has not run.**")
            continue
        here = found["machine"]
        how = f"{here['threads']} threads, load {here['load_average']}, {here['date']}"
        parts += [write(found), f"`{found['command']}` ({how})"]
        if "note" in found:
            parts.append(found["note"])
    return "\n\n".join(parts)


def table(header: Iterable[str], rows: Iterable[Iterable[Any]]) -> str:
    lines = [list(header), *[[cell(value) for value in row] for row in rows]]
    lines.insert(1, ["---", *["---:"] * (len(lines[0]) - 1)])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def cell(value: Any) -> str:
    if not isinstance(value, float):
        return f"{value:,}" if isinstance(value, int) else str(value)
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def two(value: float) -> str:
    return f"{value:.2f}"


def machine() -> str:
    found = everything()
    if not found:
        return "Nothing has run."
    here = found[0]["machine"]
    cpu = here["cpu"]
    flags = ", ".join(cpu["flags"]) or "none of note"
    gpus = ", ".join(gpu["name"] for gpu in here["gpus"]) or "none"
    versions = ", ".join(f"{name} {text}" for name, text in here["versions"].items() if text)
    rows = [
        ("processor", f"{cpu['name']}, {cpu['cores']} cores ({flags})"),
        ("memory", f"{here['memory']['total'] / 1e9:.0f} GB"),
        ("GPU", gpus),
        ("system", f"{here['system']}, Python {here['python']}"),
        ("versions", versions),
    ]
    return "## The machine\n\n" + table(("", ""), rows).replace("---:", "---")


# -- one writer for each kind of figures ---------------------------------------------------------


def ways(found: Figures, unit: str) -> str:
    """Speed of each way, and how much faster ours is, by the clock and by processor time."""
    rows = []
    for name, one in found["ways"].items():
        ratio = found["ratios"].get(f"tgqformer / {name}", {})
        faster = map(two, ratio.values()) if ratio else ("", "")
        rows.append((name, one.get("per_second", ""), one["seconds"], one["cpu_seconds"], *faster))
    header = (" ", f"{unit}/s", "seconds", "processor seconds", "ours faster by, clock")
    return table((*header, "by processor time"), rows)


def embedding(found: Figures) -> str:
    text = f"{found['items']} items, preset `{found['preset']}`."
    if "memory" in found:
        peaks = found["memory"]["peak_megabytes"]
        grown = found["memory"]["8x / 1x"]
        most = f"{peaks['1x']:,} MB, and {peaks['8x']:,} MB at eight times as many items"
        return f"{text}\n\nPeak memory: {most}: **{grown:.2f}** times as much."
    return f"{text}\n\n{ways(found, 'items')}"


def neighbours(found: Figures) -> str:
    size = f"{found['items']:,} × {found['dims']}, k = {found['k']}"
    peaks = {name: one["peak_megabytes"] for name, one in found["ways"].items()}
    memory = "Peak memory: " + ", ".join(f"{name} {peak:,} MB" for name, peak in peaks.items())
    if "shared" not in found:
        return f"{size}: the whole table.\n\n{ways(found, 'items')}\n\n{memory}."
    first, second, settling = found["ways"]["tgqformer"]["measured_seconds"]
    (theirs,) = found["ways"]["faiss"]["measured_seconds"]
    return (
        f"{size}: the whole table, extrapolated.\n\n{ways(found, 'items')}\n\n"
        f"Measured: ours for the first two blocks of 4,096 rows {first:.1f} and {second:.1f} s, of "
        f"which {settling:.1f} scoring candidates again; FAISS for one {theirs:.1f}. At least "
        f"{100 * found['shared']:.0f} % of each list is FAISS's. {memory}; vectors of "
        f"{4e-6 * found['items'] * found['dims']:,.0f} and, ours, the lists of all rows are in it."
    )


def exact(found: Figures) -> str:
    parts = [f"{found['items']:,} × {found['dims']}, top {found['k']}."]
    for name in ("many at once", "one alone"):
        part = found["exact"][name]
        count = found["queries"] if name == "many at once" else 1
        rows = [
            (
                peer,
                1000 * one["cpu_seconds"] / count,
                two(ratio["seconds"]),
                two(ratio["cpu_seconds"]),
            )
            for (peer, one), ratio in zip(part["ways"].items(), part["ratios"].values())
        ]
        header = (name, "processor ms a query", "FAISS flat takes as long, clock", "processor")
        parts.append(table(header, rows))
    return "\n\n".join(parts)


def store(found: Figures) -> str:
    rows = []
    for what in ("build", "writes"):
        for name, value in found[what].items():
            rows.append((f"{what}: {name.replace('_', ' ')}", float(value)))
    parts = [f"{found['items']:,} × {found['dims']}.", table((" ", "value"), rows)]
    sidecars = {k.removeprefix("sidecar "): v for k, v in found.items() if k.startswith("sidecar")}
    if sidecars:
        parts.append(
            table(
                ("sidecar", "recall@10", "recall@100", *SIDECAR.values(), "MB"),
                [
                    (kind, *one["recall"].values(), *map(one.get, SIDECAR), one["bytes"] / 1e6)
                    for kind, one in sidecars.items()
                ],
            )
        )
    return "\n\n".join(parts)


def training(found: Figures) -> str:
    rows = []
    for stage in ("alignment", "whole model"):
        one = found[stage]["ways"]
        ratio = found[stage]["ratios"]["with the cache / without"]
        took = [one[name]["cpu_seconds"] for name in ("with the cache", "without")]
        rows.append([f"{stage}, a step", *took, two(ratio["cpu"]), two(ratio["speed"])])
    run, clock = found["run_cpu_seconds"], found["run_seconds"]
    took = [run["with the cache"], run["without"]]
    name = f"the preset's {found['steps']} steps"
    rows.append([name, *took, two(run["ratio"]), two(clock["ratio"])])
    header = (" ", "processor s with the cache", "without", "ratio", "ratio by the clock")
    return f"{found['items_a_step']} items a step.\n\n{table(header, rows)}"


def connector(found: Figures) -> str:
    rows = []
    for preset, one in found["presets"].items():
        size = f"{preset}: {one['layers']} layers of {one['width']}, {one['queries']} queries"
        own, other = one["parameters"].values()
        rows.append((f"{size}; parameters (M)", own / 1e6, other / 1e6, own / other, ""))
        for what in ("forward", "forward and backward"):
            part = one[what]
            own, other = (way["cpu_seconds"] for way in part["ways"].values())
            clock = 1 / part["ratios"]["tgqformer / Blip2QFormerModel"]["speed"]
            each = [1000 * seconds / one["batch"] for seconds in (own, other)]
            rows.append((f"{what}, processor ms an item", *each, own / other, clock))
            own, other = part["megabytes"].values()
            rows.append((f"{what}, MB", own, other, own / other, ""))
    return table((" ", "TGQ-Former", "Blip2QFormerModel", "ratio", "by the clock"), rows)


def startup(found: Figures) -> str:
    rows = [
        (f"`{name}`", one["seconds"], one["cpu_seconds"]) for name, one in found["commands"].items()
    ]
    return table(("the fastest of a few starts", "seconds", "processor seconds"), rows)


def growth(found: Figures) -> str:
    rows = []
    for name, one in found["parts"].items():
        sizes = f"{one['items'][0]:,} to {one['items'][-1]:,}"
        cpu = ", ".join(cell(float(value)) for value in one["cpu_seconds"])
        peaks = ", ".join(str(value) for value in one["peak_megabytes"])
        rows.append((name, sizes, cpu, f"{one['slope']:.2f}", peaks, float(one["bytes_an_item"])))
    header = (" ", "items", "processor seconds at 1×, 2×, 4×, 8×", "slope", "peak MB")
    return table((*header, "bytes an item"), rows)


def kills(found: Figures) -> str:
    rows = [
        (name, one["kills"], one["acknowledged_steps"], one["runs"], one["seconds"])
        for name, one in found["work"].items()
    ]
    header = ("work", "kills", "steps acknowledged", "runs compared", "seconds")
    return (
        f"**{found['kills']} kills, seed {found['seed']}: {found['lost']} acknowledged rows lost, "
        f"every file readable, every end that of an unbroken run.**\n\n{table(header, rows)}"
    )


def churn(found: Figures) -> str:
    return (
        f"{found['writes']:,} small upserts and deletes over about {found['items']:,} items of "
        f"{found['dims']} dimensions: **{found['wrong_answers']} of {found['queries']:,} answers "
        f"differ** from a freshly built exact index; at its largest the folder was "
        f"**{found['largest_by_compacted']:.2f}** times its compacted size."
    )


def service(found: Figures) -> str:
    built = found["sidecar"]
    rows = [
        (f"{one['clients']} at once", one["per_second"], one["p50_ms"], one["p99_ms"])
        for one in (*found["similar"], found["overload"])
    ]
    rows[-1] = (f"{rows[-1][0]}, {found['overload']['admitted']} admitted", *rows[-1][1:])
    answers = ", ".join(
        f"{count:,} of {code}" for code, count in found["overload"]["answers"].items()
    )
    parts = [
        f"{found['items']:,} × {found['dims']}; the sidecar's recall at 10 is "
        f"{built['recall']:.3f}, built in {built['build_seconds']:,.0f} s.",
        table(("clients", "answers/s", "p50 ms", "p99 ms"), rows),
        f"Under overload: {answers}.",
    ]
    if "embedding" in found:
        one = found["embedding"]
        parts.append(
            f"Embedding by {one['clients']} clients: {one['per_second']:.1f} items/s, offline "
            f"{one['offline_per_second']:.1f}: **{one['offline_by_served']:.2f}** times the time."
        )
    return "\n\n".join(parts)


def gpu(found: Figures) -> str:
    if found["gpu"] is None:
        return "**This has not run: there was no GPU.** The script says so and ends."
    rows = [
        (size, one["items_per_second"], f"{one['share_of_peak']:.0%}", one["peak_megabytes"])
        for size, one in found["batch_sizes"].items()
    ]
    peak = f"{found['gpu']['name']}, {found['matmul_tflops']:.0f} TFLOP/s in a bfloat16 product"
    header = ("batch", "items/s", "share of the product's speed", "peak MB")
    told = f"{peak}; preset `{found['preset']}`.\n\n{table(header, rows)}"
    if "training" not in found:
        return told
    training = found["training"]
    ways = ("cached", "towers in the step")
    steps = [(w, training[w]["seconds"], training[w]["peak_megabytes"]) for w in ways]
    at_once, megabytes = training["items_at_once"], training["flops_megabytes"]
    counted = f"`flops` counts {megabytes:,.0f} MB for {at_once} items"
    header = ("tower outputs", "s", "peak MB")
    size = training["batch_size"]
    return (
        f"{told}\n\nA training step of {size} pairs; {counted} at a time.\n\n{table(header, steps)}"
    )


HEAD = """
# Benchmarks

Each figure is a ratio, taken in one run against a peer or a limit, in turns. `make bench` runs the
quick ones, writes `benchmarks/results/*.json` and this page; it is made by `benchmarks/page.py` and
not written by hand.
"""

BUSY = """
**Read the ratios, not the rates.** The load is told with each figure. Where it is above 3, other
work of a higher priority held most of both cores, so seconds are several times what an idle machine
needs. "Processor seconds" count the time that threads ran, and not the waiting for a core; on such
a machine they are the better measure, and they too are raised by caches that others fill.
"""

SECTIONS: list[tuple[str, str, str, Any]] = [
    (
        "Embedding",
        "JPEG files to vectors: the pipeline of `embed` beside the bare forward pass of the same "
        "model on ready tensors (the limit), a plain loop one item at a time, and "
        "sentence-transformers' `encode` of the same saved model. The goals: 0.9, 2 and 1.5; and "
        "at most 1.1 times the memory for eight times the items. sentence-transformers runs this "
        "package's own module (batches, photo threads and towers are ours) and so comes as near to "
        "the limit as `embed` does: half as fast again would be faster than the bare forward pass.",
        "embedding embedding-memory",
        embedding,
    ),
    (
        "Training",
        "Steps with the token cache beside steps without it. The goal: 5 times as many. What is "
        "left of a step when the towers are saved is connector and backbone, forward and backward; "
        "the towers cost two to four times that, and no cache can save more than they cost.",
        "training",
        training,
    ),
    (
        "The connector alone",
        "Beside transformers' `Blip2QFormerModel` with as many layers, heads and queries of the "
        "same width, which looks at the photo in every layer too. Ours reads the metadata, keeps "
        "two streams, gates them, and in the offline preset steers attention by token agreement.",
        "connector",
        connector,
    ),
    (
        "Neighbour tables",
        "`neighbors` beside FAISS's flat index asked in one go. The goals: as fast, in at most "
        "1.5 GB at 134,000 items (the paper's pool). Ours multiplies each pair of items once, "
        "where FAISS, which takes any queries, multiplies it twice; and it does more: each item "
        "itself is left out, candidates are scored again in float64, so that answers do not hang "
        "on how the work was cut, and the whole table goes into a Parquet file.",
        "neighbours-134k neighbours-1m",
        neighbours,
    ),
    (
        "Exact search",
        "Top 100 beside FAISS `IndexFlatIP` and numpy.",
        "search-134k search-1m",
        exact,
    ),
    (
        "The store and its sidecars",
        "Building, opening, small writes; recall of a sidecar is against the exact mirror. "
        'An HNSW sidecar of 1 M items is in "The service".',
        "store store-1m",
        store,
    ),
    (
        "Kills",
        "SIGKILL at random moments of `embed`, small upserts, `optimize`, a sidecar's build and "
        "swap, and `neighbors`.",
        "kills",
        kills,
    ),
    ("Small writes", "Upserts and deletes mixed with queries.", "churn", churn),
    (
        "Growth",
        "Processor time and peak memory at one, two, four and eight times as many items; the "
        "slope is the exponent of time in the number of items.",
        "growth",
        growth,
    ),
    (
        "The service",
        "`tgqformer serve` in a process of its own, asked by clients in another on the same two "
        "cores: `POST /v1/similar` by id at k = 10 through an HNSW sidecar, then ten times as many "
        "clients as it admits requests, then items with photos to embed. The goals: a p99 of 25 ms "
        "at 8 clients, nothing but 429 under overload, and at most 1.3 times the time of the same "
        "items offline.",
        "service",
        service,
    ),
    ("Start-up", "The command line beside a Python that does nothing.", "startup", startup),
    (
        "On a GPU",
        "Items a second of the `paper` preset with random weights, and the share of the measured "
        "bfloat16 matrix product. The goal: 40 %.",
        "gpu",
        gpu,
    ),
]


if __name__ == "__main__":
    main()
