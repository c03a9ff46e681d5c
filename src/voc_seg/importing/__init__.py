"""``kedro import-data``: data in other layouts is recognised, examined and described by an environment in ``conf/``.

Nothing here trains, and nothing here is needed for data in VOC's layout.
"""
