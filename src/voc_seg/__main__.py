"""``python -m voc_seg`` and ``voc-seg``, equivalent to ``kedro run``; ``voc-seg serve`` needs no project."""

import logging
import os
import sys
from pathlib import Path
from typing import Any

_LOGGING_FILES = ("conf/logging.yml", "conf/logging.yaml")
"""Where Kedro looks for logging settings; it uses the first that exists."""


def main(*args: Any, package: str = "voc_seg", **kwargs: Any) -> Any:
    """Run the project of this package, with the options of ``kedro run``; or start the server."""
    given = list(args[0] if args else kwargs.get("args") or sys.argv[1:])
    if given[:1] == ["serve"]:
        from voc_seg.serving.command import serve

        return serve(given[1:], prog_name="voc-seg serve")
    # Without conf/logging.yml: "Using .../rich_logging.yml as logging configuration". Kedro resets levels.
    logging.getLogger("kedro.framework.project").addFilter(lambda record: record.levelno > logging.INFO)
    _require_logging()
    from kedro.framework.cli.utils import find_run_command
    from kedro.framework.project import configure_project

    configure_project(package)
    kwargs["standalone_mode"] = not hasattr(sys, "ps1")
    return find_run_command(package)(*args, **kwargs)


def _require_logging() -> None:
    """Exit with an explanation if the logging settings, which importing Kedro reads, are faulty."""
    try:
        import kedro.framework.project  # noqa: F401
    except ImportError:  # Kedro itself is missing or broken; logging raises ValueError instead
        raise
    except Exception as error:
        given = os.environ.get("KEDRO_LOGGING_CONFIG")
        found = [Path(given)] if given else [path for path in map(Path, _LOGGING_FILES) if path.exists()]
        if not found:
            raise
        from voc_seg.config.yaml_files import logging_config_fault

        where = f" (KEDRO_LOGGING_CONFIG={given})" if given else ""
        fault = logging_config_fault(found[0], error)
        sys.exit(f"The logging settings{where} cannot be read; nothing has run.\n{fault}")


if __name__ == "__main__":
    main()
