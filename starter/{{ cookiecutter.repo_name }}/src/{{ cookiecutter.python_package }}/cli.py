"""The commands of voc_seg: ``kedro import-data``, ``sweep`` and others. Add your own with ``@cli.command()``."""

from voc_seg.cli import cli, run

__all__ = ["cli", "run"]
