"""Options of ``kedro sweep``, and which of them exclude each other."""

from dataclasses import dataclass
from importlib.util import find_spec

from voc_seg.hooks.project_package import pipeline_modules
from voc_seg.hooks.trackers import redact_password
from voc_seg.system.errors import VocSegError

from .folds import require_fold_pipelines


@dataclass(frozen=True)
class SweepOptions:
    """Options of ``kedro sweep``."""

    grid: tuple[str, ...]  # items ``key=value,value``
    params: str  # settings of all runs, as in ``--params``
    pipelines: tuple[str, ...]  # pipelines of each run
    max_parallel: int  # runs at the same time
    name: str  # prefix of the run names
    env: str | None  # environment; None for the default
    folds: int = 0  # folds of train that each combination is run on; 0: the whole of train
    ensemble: bool = False  # join the models of all folds
    search: tuple[str, ...] = ()  # items ``key=kind:range``, in place of ``grid``
    trials: int = 0  # number of runs of the search, over all machines
    storage: str | None = None  # URL of the database of the search; None for a file in the data folder


def require_options(options: SweepOptions) -> None:
    """Refuse options that do not fit together, and pipelines that do not exist."""
    _require_search_options(options)
    if not (options.grid or options.folds or options.search):
        raise VocSegError(
            "There is nothing to vary: give --grid KEY=V1,V2, or --folds 5, or both; or --trials 30 with "
            "--search KEY=log:1e-3..1e-1"
        )
    if options.ensemble and not options.folds:
        raise VocSegError("--ensemble joins the models of folds. Add --folds 5.")
    if "data_processing" in options.pipelines:
        raise VocSegError(
            "All runs share the outputs of data_processing. Run it once before: kedro run --pipelines data_processing"
        )
    known = pipeline_modules()
    if unknown := [name for name in options.pipelines if name not in known]:
        raise VocSegError(f"There is no pipeline {unknown[0]}. There are: {', '.join(known)}.")
    if options.folds:
        require_fold_pipelines(options.pipelines)


def _require_search_options(options: SweepOptions) -> None:
    """Refuse options that do not go with ``--search``, and a search without Optuna."""
    if not options.search:
        for name, value in (("--trials", options.trials), ("--storage", options.storage)):
            if value:
                raise VocSegError(
                    f"{name} {redact_password(str(value))} belongs to a search, but there is no --search. Add --search "
                    f"KEY=log:1e-3..1e-1, or remove {name}."
                )
        return
    for name, given in (("--grid", options.grid), ("--folds", options.folds)):
        if given:
            value = given if isinstance(given, int) else given[0]
            raise VocSegError(
                f"{name} {value} and --search {options.search[0]} exclude each other: a grid or folds run every "
                f"combination, a search chooses. Remove one of them; a setting with a few values can be searched as "
                "--search KEY=choice:V1,V2"
            )
    if not options.trials:
        raise VocSegError(f"--search {options.search[0]} needs the number of runs. Add --trials 30.")
    if "training" not in options.pipelines:
        raise VocSegError(
            f"--pipelines {','.join(options.pipelines)} does not train, and --search needs the validation scores of "
            "trainings. Add training."
        )
    if find_spec("optuna") is None:
        raise VocSegError(
            "--search needs Optuna, which is not installed. Install it with: pip install 'voc_seg[sweep]'; or use "
            "--grid."
        )
