"""Refuse a name whose Python package cannot be installed, or would hide another one."""

import re
import sys
from importlib.util import find_spec

PACKAGE = "{{ cookiecutter.python_package }}"

# pip takes ASCII names only, without an underscore at either end. Kedro itself refuses Python's keywords.
if not re.fullmatch("[a-z]([a-z0-9_]*[a-z0-9])?", PACKAGE):
    sys.exit(
        f"{PACKAGE!r} cannot be the name of a Python package. Choose a project name that begins with a letter, ends "
        "with a letter or digit, and has no accents or umlauts."
    )
if find_spec(PACKAGE):
    sys.exit(f"This environment has a Python package {PACKAGE!r}, which the project would hide. Choose another name.")
