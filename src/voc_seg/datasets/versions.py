"""Versions of a file whose entry has ``versioned: true``."""

from pathlib import Path

from kedro.io import Version


class OwnVersion:
    """Lets a dataset overwrite the version it has written, as training does every epoch; Kedro refuses to."""

    _version: Version | None
    _written: str | None = None

    def _target(self) -> Path:
        """The file to write."""
        if self._version and self._written == self._version.save:
            return Path(self._get_versioned_path(self._written))  # type: ignore[attr-defined]
        return Path(self._get_save_path())  # type: ignore[attr-defined]

    def _remember_version(self) -> None:
        """Call this after each write."""
        self._written = self.resolve_save_version()  # type: ignore[attr-defined]
