"""Train, check and evaluate semantic segmentation networks on PASCAL VOC, as a Kedro project."""

import os

__version__ = "0.1.0"

# Threads of OpenMP spin at the end of an operation until all have arrived. Beside another busy process one of them has
# no core, and by default the others spin for milliseconds (shared_cpu.py in benchmarks/README.md). libgomp reads this
# when torch is imported; child processes inherit it.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "2000")
