"""torchrun whose ranks are forked from it: it and they import PyTorch and the like once, not each for itself.

Use it with ``--start-method=fork --run-path``. ``narrow`` can be imported in the programs it runs.
"""

import importlib

from torch.distributed import run

# None of Kedro, whose import sets up logging, and none of the modules that read the variables of a rank.
for _name in ("torch._dynamo", "pandas", "matplotlib.pyplot", "voc_seg.engine.run", "voc_seg.engine.evaluation",
              "voc_seg.reporting.figures"):  # fmt: skip
    importlib.import_module(_name)

if __name__ == "__main__":
    run.main()
