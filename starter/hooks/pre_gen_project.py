"""Refuse a name whose Python package cannot be imported, or would hide another one."""

import sys
from importlib.util import find_spec

PACKAGE = "{{ cookiecutter.python_package }}"

if not PACKAGE.isidentifier():
    sys.exit(f"{PACKAGE!r} cannot be the name of a Python package. Choose a project name that begins with a letter.")
if find_spec(PACKAGE):
    sys.exit(f"This environment has a Python package {PACKAGE!r}, which the project would hide. Choose another name.")
