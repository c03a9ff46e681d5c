"""Statistics of a data set: pixels by class, rejected images, images in several splits."""

from collections.abc import Mapping, Sequence

import pandas as pd

from .classes import CLASS_NAMES


def class_statistics(indices: Mapping[str, pd.DataFrame], class_names: Sequence[str] = CLASS_NAMES) -> pd.DataFrame:
    """Count images and pixels of every class in the index of each split, without rejected images.

    Returns:
        One row a class.

        | column                  | dtype   | meaning                                                        |
        |-------------------------|---------|----------------------------------------------------------------|
        | class_index             | int64   | mask value                                                     |
        | class_name              | string  |                                                                |
        | ``<split>_images``      | int64   | images with at least one pixel of the class                    |
        | ``<split>_pixels``      | int64   | pixels of the class                                            |
        | ``<split>_pixel_share`` | float64 | of the split's labelled pixels, 0..1; 0 when there are none    |
    """
    names = list(class_names)
    table = pd.DataFrame(
        {"class_index": range(len(names)), "class_name": pd.array(names, dtype="string")},
    )
    for split, index in indices.items():
        counts = index.loc[index["rejected"] == "", names]
        pixels = counts.sum().to_numpy(dtype="int64")
        table[f"{split}_images"] = (counts > 0).sum().to_numpy(dtype="int64")
        table[f"{split}_pixels"] = pixels
        table[f"{split}_pixel_share"] = pixels / max(pixels.sum(), 1)
    return table


def split_summary(indices: Mapping[str, pd.DataFrame], class_names: Sequence[str] = CLASS_NAMES) -> pd.DataFrame:
    """Summarise the index of each split.

    Returns:
        One row a split, its name as index.

        | column            | dtype   | meaning                                                         |
        |-------------------|---------|-----------------------------------------------------------------|
        | images            | int64   | usable images                                                   |
        | left_out          | int64   | rejected images                                                 |
        | median_size       | string  | width x height of a typical image, pixels                       |
        | classes_per_image | float64 | mean number of classes per image, without background            |
        | void_share        | float64 | fraction of void pixels, 0..1                                   |
    """
    rows = {}
    for split, index in indices.items():
        usable = index[index["rejected"] == ""]
        pixels = usable[[*class_names, "void"]].to_numpy(dtype="int64").sum()
        rows[split] = {
            "images": len(usable),
            "left_out": len(index) - len(usable),
            "median_size": f"{usable['width'].median():.0f} x {usable['height'].median():.0f}" if len(usable) else "",
            "classes_per_image": float((usable[list(class_names[1:])] > 0).sum(axis=1).mean()),
            "void_share": float(usable["void"].sum() / max(pixels, 1)),
        }
    return pd.DataFrame.from_dict(rows, orient="index")


def rejected_images(indices: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """List the rejected images: columns split, image_id and reason, in the order of the indices."""
    columns = ["split", "image_id", "rejected"]
    rejected = [index.loc[index["rejected"] != "", columns] for index in indices.values()]
    table = pd.concat(rejected, ignore_index=True) if rejected else pd.DataFrame(columns=columns)
    return table.rename(columns={"rejected": "reason"}).astype("string")


def ids_in_several_splits(indices: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """List images in more than one split, whose scores are meaningless: columns image_id and splits ("train, val")."""
    listed: dict[str, list[str]] = {}
    for split, index in indices.items():
        for image_id in index["image_id"]:
            listed.setdefault(image_id, []).append(split)
    several = [(image_id, ", ".join(splits)) for image_id, splits in listed.items() if len(splits) > 1]
    return pd.DataFrame(several, columns=["image_id", "splits"]).astype("string")
