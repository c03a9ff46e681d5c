"""{{ cookiecutter.project_name }}: pipelines of your own, beside those of voc_seg."""

__version__ = "0.1.0"
