"""Runs named by the settings in which they differ."""

from collections.abc import Collection, Mapping
from typing import Any


def differing_settings(runs: Collection[Mapping[str, Any]]) -> list[str]:
    """The dotted keys whose values differ between runs, each given as its settings by dotted key."""
    keys = dict.fromkeys(key for settings in runs for key in settings)
    return [key for key in keys if len({str(settings.get(key)) for settings in runs}) > 1]


def named_settings(settings: Mapping[str, Any], keys: Collection[str]) -> list[str]:
    """These settings of a run in short, such as ``width=64``."""
    return [f"{key.rpartition('.')[2]}={settings.get(key)}" for key in keys]
