"""Kedro settings."""

from voc_seg.hooks.console import ConsoleHooks
from voc_seg.hooks.context import ProjectContext
from voc_seg.hooks.log_handlers import open_log_files
from voc_seg.hooks.multiprocess import RankHooks, RankSession
from voc_seg.hooks.outputs import OutputHooks
from voc_seg.hooks.project_logs import separate_rank_logs
from voc_seg.hooks.run_lock import RunLockHooks
from voc_seg.hooks.run_options import OptionHooks
from voc_seg.hooks.settings_files import CheckedConfigLoader
from voc_seg.hooks.tracking import TrackingHooks
from voc_seg.hooks.validation import ProjectHooks
from voc_seg.system.runs import outputs_folder

separate_rank_logs()
open_log_files()  # before the first message

# Kedro calls the last one first: whether outputs can be written is checked when everything else is fine.
HOOKS = (
    OutputHooks(), ProjectHooks(), OptionHooks(), RunLockHooks(), RankHooks(), TrackingHooks(), ConsoleHooks(),
)  # fmt: skip

SESSION_CLASS = RankSession

CONTEXT_CLASS = ProjectContext

CONFIG_LOADER_CLASS = CheckedConfigLoader

CONFIG_LOADER_ARGS = {
    "base_env": "base",
    "default_run_env": "local",
    # Environments override base key by key, and --params overrides both.
    "merge_strategy": {"parameters": "soft"},
    "custom_resolvers": {"outputs_folder": outputs_folder},  # used in the catalog
}
