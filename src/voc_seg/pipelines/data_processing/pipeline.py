"""data_processing: raw files -> indexed, checked and packed samples."""

from kedro.pipeline import Node, Pipeline

from .nodes import describe, index_split, pack_split

SPLITS = ("train", "val", "test")


def create_pipeline(**kwargs: object) -> Pipeline:
    """The data_processing pipeline: index every split, describe all splits, pack the usable samples."""
    index = [
        Node(
            func=index_split,
            inputs=[f"{split}_split", "params:data"],
            outputs=f"{split}_index",
            name=f"index_{split}",
        )
        for split in SPLITS
    ]
    pack = [
        Node(
            func=pack_split,
            inputs=[f"{split}_split", f"{split}_index", "rejected_images", "params:data"],
            outputs=f"{split}_samples",
            name=f"pack_{split}",
        )
        for split in SPLITS
    ]
    return Pipeline(
        [
            *index,
            Node(
                func=describe,
                inputs=[
                    *(f"{split}_index" for split in SPLITS),
                    "params:data",
                    "params:augmentation",
                    "params:inference",
                ],
                outputs=["class_statistics", "class_distribution", "rejected_images", "shared_images"],
                name="describe_classes",
            ),
            *pack,
        ]
    )
