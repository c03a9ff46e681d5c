"""Wiring of data_processing."""

from kedro.pipeline import Node, Pipeline

from .nodes import describe, index_split, pack_split

SPLITS = ("train", "val", "test")


def create_pipeline(**kwargs: object) -> Pipeline:
    """Index and pack every split, then describe them together."""
    index = [
        Node(func=index_split, inputs=f"{split}_split", outputs=f"{split}_index", name=f"index_{split}")
        for split in SPLITS
    ]
    pack = [
        Node(
            func=pack_split,
            inputs=[f"{split}_split", f"{split}_index"],
            outputs=f"{split}_samples",
            name=f"pack_{split}",
        )
        for split in SPLITS
    ]
    return Pipeline(
        [
            *index,
            *pack,
            Node(
                func=describe,
                inputs=[f"{split}_index" for split in SPLITS],
                outputs=["class_statistics", "class_distribution", "rejected_images"],
                name="describe_classes",
            ),
        ]
    )
