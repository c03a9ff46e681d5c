"""Copy the settings of voc_seg into the new project, and require the voc_seg that they belong to.

They are copied from the repository of this starter, which therefore holds no second copy of them.
"""

import re
import shutil
import subprocess
import sys
from pathlib import Path

START = Path(r"{{ cookiecutter._output_dir }}")  # where kedro new was typed
TEMPLATE = r"{{ cookiecutter._template }}"  # value of --starter
REPOSITORY = (START / r"{{ cookiecutter._repo_dir }}").resolve().parent
COPIED = (
    ".gitignore",
    ".telemetry",
    ".viz/styles.json",
    "conf/base",
    "conf/logging.yml",
    "notebooks/explore_data.ipynb",
    "notebooks/inspect_run.ipynb",
)


def address() -> str:
    """Where pip finds this voc_seg: the commit of a cloned repository, an archive, or a folder of this machine."""
    if TEMPLATE.endswith(".zip"):
        return TEMPLATE if "://" in TEMPLATE else (START / TEMPLATE).resolve().as_uri()
    url = re.sub(r"^([\w.-]+@[\w.-]+):(?!//)", r"ssh://\1/", TEMPLATE.removeprefix("git+"))  # git@HOST:OWNER/NAME
    if url.startswith("file://"):  # pip's older versions refuse git+file
        return url
    if "://" not in url:
        return REPOSITORY.as_uri()
    command = ["git", "-C", str(REPOSITORY), "rev-parse", "HEAD"]
    commit = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    return f"git+{url}@{commit}"


if missing := [name for name in COPIED if not (REPOSITORY / name).exists()]:
    sys.exit(
        f"{REPOSITORY} has no {missing[0]}. The starter needs the whole repository of voc_seg: --starter=REPOSITORY "
        "--directory=starter, with an absolute path or an address."
    )
for name in COPIED:
    target = Path(name)
    target.parent.mkdir(parents=True, exist_ok=True)
    if (REPOSITORY / name).is_dir():
        shutil.copytree(REPOSITORY / name, target)
    else:
        shutil.copy(REPOSITORY / name, target)
for name in ("pyproject.toml", "README.md"):
    page = Path(name)
    page.write_text(page.read_text(encoding="utf-8").replace("file:///ADDRESS", address()), encoding="utf-8")
# Kedro configures the logging again for a package that logging.yml does not name, which undoes what the settings of
# voc_seg do with it.
logging_file = Path("conf/logging.yml")
text = logging_file.read_text(encoding="utf-8")
own = "  {{ cookiecutter.python_package }}:\n    level: DEBUG\n"
logging_file.write_text(text.replace("\nroot:", f"{own}\nroot:", 1), encoding="utf-8")
