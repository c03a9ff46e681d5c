"""Kedro settings: those of voc_seg. To add a hook: ``HOOKS = (*HOOKS, MyHooks())``."""

from voc_seg.settings import *  # noqa: F403
