"""What one node hands the next, in memory."""

from typing import Any

from kedro.io import MemoryDataset


class InMemoryDataset(MemoryDataset):
    """Hands on the very object, without a copy.

    (Of its own entries in memory ``kedro catalog resolve-patterns`` writes a default that no catalog can read.)
    """

    def __init__(self, *, metadata: dict[str, Any] | None = None) -> None:
        super().__init__(copy_mode="assign", metadata=metadata)
