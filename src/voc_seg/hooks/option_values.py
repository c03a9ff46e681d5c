"""Values of command-line options: what Kedro's parsers get wrong."""

from collections.abc import Callable
from typing import Any

import click
from kedro.framework.cli.utils import KedroCliError
from omegaconf import OmegaConf

from voc_seg.config.overrides import split_params


def accept_lists(parse: Callable[..., Any]) -> Callable[..., Any]:
    """Extend Kedro's parser of ``--params``, which splits at every comma, to ``[2,3]`` and quoted text."""

    def read(context: click.Context, option: Any, value: Any) -> Any:
        items = split_params(value) if isinstance(value, str) else []
        if not any("," in item for item in items):
            return parse(context, option, value)
        pairs = [item.partition("=") for item in items if item.strip()]
        if any(not (key.strip() and equals) for key, equals, _ in pairs):
            return parse(context, option, value)  # which reports what is wrong
        return OmegaConf.to_container(OmegaConf.from_dotlist([f"{key.strip()}={text}" for key, _, text in pairs]))

    return read


def keep_config_path(read: Callable[..., Any]) -> Callable[..., Any]:
    """Make Kedro's parser of ``--config`` return the path; Kedro 1.7 returns the last value in the file."""

    def kept(context: click.Context, option: Any, value: Any) -> Any:
        read(context, option, value)
        return value

    return kept


def explain_option(read: Callable[..., Any]) -> Callable[..., Any]:
    """Make Kedro's parser of an option say what is wrong; Kedro 1.7 prints ``NoneType: None``."""

    def explained(context: click.Context, option: Any, value: Any) -> Any:
        try:
            return read(context, option, value)
        except KedroCliError as error:
            raise click.BadParameter(error.message, context, option) from None

    return explained
