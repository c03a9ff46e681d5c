"""``python -m {{ cookiecutter.python_package }}``, equivalent to ``kedro run``; also for torchrun."""

from functools import partial

from voc_seg import __main__ as voc_seg

main = partial(voc_seg.main, package=__package__)

if __name__ == "__main__":
    main()
