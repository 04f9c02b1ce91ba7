"""Seeds, variants and sizes added to a finished study: only new cells run, and the look is told."""

import dataclasses
from pathlib import Path

import pytest

from study_tiny import run_here, tiny_study
from timelift.cli.main import main
from timelift.comparison.store import Store
from videos_tiny import write_net, write_videos

pytestmark = pytest.mark.slow


def written(folder: Path) -> dict[str, int]:
    """When each finished run was written."""
    return {str(path): path.stat().st_mtime_ns for path in folder.glob("runs/**/run.json")}


def test_only_what_was_added_runs_and_the_table_says_which_look_it_is(tmp_path, monkeypatch):
    monkeypatch.setenv("TIMELIFT_CACHE", str(tmp_path / "cache"))
    net, folder = write_net(tmp_path), tmp_path / "study"
    tiny = tiny_study(write_videos(tmp_path / "videos", per_class=3), net)
    training = dataclasses.replace(tiny.recipe.training, epochs=1)
    first = dataclasses.replace(
        tiny,
        seeds=3,
        max_seeds=6,
        videos_per_class=(2,),
        vary_training_videos=True,
        recipe=dataclasses.replace(tiny.recipe, training=training),
    )
    run_here(first, folder)
    main_quietly("report", str(folder))
    before = written(folder)
    assert len(before) == 6
    assert "Look 1, at 3 seeds (3 stated beforehand, at most 6): nominal level" in report(folder)

    seeds = dataclasses.replace(first, seeds=5)
    run_here(seeds, folder)
    main_quietly("report", str(folder))
    after = written(folder)
    assert len(after) == 10
    assert {path: after[path] for path in before} == before
    text = report(folder)
    assert "Look 2, at 5 seeds (3 stated beforehand, at most 6): nominal level" in text
    assert "% of 5 %." in text.split("spent so far", 1)[1]

    more = dataclasses.replace(
        seeds, variants=(*seeds.variants, f"{net} Inflate(frames=3)"), videos_per_class=(2, 3)
    )
    run_here(more, folder)
    last = written(folder)
    assert len(last) == 5 * 3 * 2
    assert {path: last[path] for path in after} == after
    assert {cell.state for cell in Store(folder).status()} == {"done"}


def main_quietly(*words: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main(list(words))
    assert ended.value.code == 0


def report(folder: Path) -> str:
    return (folder / "report.md").read_text()
