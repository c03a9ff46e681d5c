"""Values passed from node to node in memory."""

from typing import Any

from kedro.io import MemoryDataset


class InMemoryDataset(MemoryDataset):
    """Passes the object itself, without a copy.

    (For Kedro's own MemoryDataset ``kedro catalog resolve-patterns`` writes a default that no catalog can read.)
    """

    def __init__(self, *, metadata: dict[str, Any] | None = None) -> None:
        super().__init__(copy_mode="assign", metadata=metadata)
