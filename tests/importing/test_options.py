"""Values of options that ``kedro import-data`` refuses before it reads anything."""

from pathlib import Path

from click.testing import CliRunner

from voc_seg.cli import import_folder


def test_a_negative_seed_is_refused(tmp_path: Path) -> None:
    done = CliRunner().invoke(import_folder, [str(tmp_path), "--check", "--seed", "-1"])
    assert done.exit_code == 2 and "'--seed': -1 is not in the range" in done.output
