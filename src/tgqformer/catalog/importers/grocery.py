"""The Grocery Store data set (Klasson, Zhang and Kjellström, WACV 2019) as a retrieval task.

5,421 phone photos of 81 fine classes in 42 coarse ones, and an iconic picture of each fine class::

    dataset/classes.csv      fine name, id, coarse name, id, iconic image, description
    dataset/train.txt        train/Fruit/Apple/Golden-Delicious/Golden-Delicious_001.jpg, 0, 0
    dataset/val.txt, dataset/test.txt

The task (ours): find the photos of the same fine class. The metadata says no more than the coarse
class, title "Apple" and category "Fruit > Apple"; the fine name and its description would be the
answer, so they stand in the labels, in ids and in file names, which no model is shown.

- train: each photo with up to `targets` others of its fine class;
- val, test: the queries are the photos whose coarse class holds two or more fine ones (the others
  have nothing to tell apart), their targets all photos of the same fine class and split, and its
  iconic picture; the pool is the split's photos and all iconic pictures.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tgqformer.catalog.catalog import Catalog
from tgqformer.catalog.importers.parts import finish
from tgqformer.catalog.quarantine import Quarantine
from tgqformer.catalog.tables import rows_table
from tgqformer.errors import CatalogError


@dataclass(frozen=True, slots=True)
class _Class:
    fine: str
    coarse: str
    section: str
    iconic: str


def import_grocery(
    source: Path,
    out: Path,
    *,
    targets: int = 10,
    seed: int = 0,
    strict: bool = False,
    progress: bool = False,
) -> Catalog:
    """Import the Grocery Store data set.

    Args:
        source: the repository's folder, or the folder `dataset` in it.
        out: the catalog's folder, which is written; photos come to it as hard links or copies.
        targets: how many targets a training query has at most.
        seed: which ones.
        strict, progress: see parts.finish.

    Raises:
        CatalogError: a file is missing or is not as its authors have it.
    """
    root = source / "dataset" if (source / "dataset").is_dir() else source
    classes = _classes(root / "classes.csv")
    photos = {split: _photos(root / f"{split}.txt", classes) for split in ("train", "val", "test")}
    quarantine = Quarantine()
    items, labels = [], []
    for split, found in photos.items():
        for item_id, path, number in found:
            items.append(_item(item_id, path, classes[number]))
            pool = "" if split == "train" else split
            labels.append(_label(item_id, classes[number], "photo", pool))
    for kind in classes.values():
        items.append(_item(f"iconic/{kind.fine}", kind.iconic, kind))
        labels.append(_label(f"iconic/{kind.fine}", kind, "iconic", "val,test"))
    pairs = [*_train_pairs(photos["train"], targets, seed)]
    for split in ("val", "test"):
        pairs += _judged_pairs(photos[split], classes, split)
    tables = {
        "items": rows_table(enumerate(items, start=1), "items", quarantine),
        "pairs": rows_table(enumerate(pairs, start=1), "pairs", quarantine),
        "labels": rows_table(enumerate(labels, start=1), "labels", quarantine),
    }
    return finish(tables, out, quarantine, root=root.absolute(), strict=strict, progress=progress)


def _classes(path: Path) -> dict[int, _Class]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.reader(file))[1:]
        # The iconic picture's path is /iconic-images-and-descriptions/<section>/<coarse>/...
        return {
            int(number): _Class(fine, coarse, iconic.strip("/").split("/")[1], iconic.strip("/"))
            for fine, number, coarse, _, iconic, _ in rows
        }
    except OSError as error:
        raise CatalogError(
            f"{path} cannot be read ({error.strerror}); name the data set's own folder."
        ) from error
    except (ValueError, IndexError) as error:
        raise CatalogError(
            f"{path} is not the data set's table of classes ({error}); fetch it anew."
        ) from error


def _photos(path: Path, classes: dict[int, _Class]) -> list[tuple[str, str, int]]:
    """Return (item id, path, fine class) for each line of a split's list."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        photos = []
        for line in filter(None, lines):
            name, fine, _ = (part.strip() for part in line.split(","))
            if int(fine) not in classes:
                raise ValueError(f"there is no class {fine}")
            photos.append((f"{path.stem}/{Path(name).stem}", name, int(fine)))
    except OSError as error:
        raise CatalogError(
            f"{path} cannot be read ({error.strerror}); name the data set's own folder."
        ) from error
    except ValueError as error:
        raise CatalogError(
            f"{path} is not a list of the data set's photos ({error}); fetch it anew."
        ) from error
    return photos


def _item(item_id: str, path: str, kind: _Class) -> dict[str, Any]:
    title = kind.coarse.replace("-", " ")
    return {
        "item_id": item_id,
        "title": title,
        "category": f"{kind.section} > {title}",
        "images": [path],
    }


def _label(item_id: str, kind: _Class, what: str, pool: str) -> dict[str, str]:
    return {
        "item_id": item_id,
        "fine": kind.fine,
        "coarse": kind.coarse,
        "section": kind.section,
        "kind": what,
        "pool": pool,
    }


def _by_class(photos: list[tuple[str, str, int]]) -> dict[int, list[str]]:
    members: dict[int, list[str]] = defaultdict(list)
    for item_id, _, number in photos:
        members[number].append(item_id)
    return members


def _train_pairs(
    photos: list[tuple[str, str, int]], targets: int, seed: int
) -> Iterator[dict[str, str]]:
    rng = np.random.default_rng(seed)
    for _, members in sorted(_by_class(photos).items()):
        for position, query in enumerate(members):
            others = members[:position] + members[position + 1 :]
            for choice in rng.permutation(len(others))[:targets].tolist():
                yield {"query_id": query, "target_id": others[choice], "split": "train"}


def _judged_pairs(
    photos: list[tuple[str, str, int]], classes: dict[int, _Class], split: str
) -> Iterator[dict[str, str]]:
    siblings: dict[str, int] = defaultdict(int)
    for kind in classes.values():
        siblings[kind.coarse] += 1
    for number, members in sorted(_by_class(photos).items()):
        if siblings[classes[number].coarse] < 2:
            continue
        for query in members:
            for target in (*members, f"iconic/{classes[number].fine}"):
                if target != query:
                    yield {"query_id": query, "target_id": target, "split": split}
