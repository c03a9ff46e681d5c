"""Kedro settings."""

from voc_seg.hooks.console import ConsoleHooks
from voc_seg.hooks.context import ProjectContext
from voc_seg.hooks.log_handlers import open_log_files
from voc_seg.hooks.multiprocess import RankHooks, RankSession, separate_logs
from voc_seg.hooks.outputs import OutputHooks
from voc_seg.hooks.run_lock import SoleRunHooks
from voc_seg.hooks.run_options import OptionHooks
from voc_seg.hooks.settings_files import CheckedConfigLoader
from voc_seg.hooks.tracking import TrackingHooks
from voc_seg.hooks.validation import ProjectHooks
from voc_seg.system.runs import outputs_folder

separate_logs()
open_log_files()  # before the first message

# Kedro calls the last first: what can be written is asked once nothing else stands in the way.
HOOKS = (
    OutputHooks(), ProjectHooks(), OptionHooks(), SoleRunHooks(), RankHooks(), TrackingHooks(), ConsoleHooks(),
)  # fmt: skip

SESSION_CLASS = RankSession

CONTEXT_CLASS = ProjectContext

CONFIG_LOADER_CLASS = CheckedConfigLoader

CONFIG_LOADER_ARGS = {
    "base_env": "base",
    "default_run_env": "local",
    # Blocks of an environment are merged into those of base, key by key, and --params into both.
    "merge_strategy": {"parameters": "soft"},
    "custom_resolvers": {"outputs_folder": outputs_folder},  # of the catalog
}
