"""What was done to the data stands in every report: what was left out, and leaks first of all."""

import re

from test_report import cells, fabricated_manifest, study, tabled  # noqa: F401
from timelift.report.data_notes import MOST, leaks_of, notes_markdown, shown_notes
from timelift.report.page import write_report

LEAK = "leaks were allowed: 3 of 9 test videos have videos of their group, or copies, on another side"
LEFT = "bad_videos = 'exclude': 1 of 22 videos left out"


def test_many_notes_are_cut_with_their_number():
    notes = [f"note {i}" for i in range(MOST + 7)]
    assert shown_notes(notes)[:MOST] == notes[:MOST]
    assert shown_notes(notes)[MOST:] == ["and 7 more; data.csv has the status of every video"]
    assert shown_notes(notes[:MOST]) == notes[:MOST]
    assert notes_markdown([]) == ""
    assert notes_markdown(["one", "two"]).endswith("- one\n- two\n")


def test_only_leaks_are_taken_for_leaks():
    assert leaks_of(["other", LEAK]) == LEAK
    assert leaks_of(["no leaks were allowed: "]) == ""


def test_a_page_of_leaking_data_says_so_among_what_it_cannot_say(tmp_path, study, cells):  # noqa: F811
    manifest = fabricated_manifest(tmp_path)
    fine = manifest.with_videos(video for video in manifest.videos if video.status == "ok")
    files = write_report(
        tmp_path, tabled(study, cells), study, *cells, manifest=fine, data_notes=(LEFT, LEAK)
    )
    text = " ".join(files.html.read_text(encoding="utf-8").split())
    assert "of which some stand on both sides" in text
    assert "never stand on both sides" not in text
    assert "Every video decodes without a complaint" not in text
    assert len(re.findall(re.escape(LEAK[1:]), text)) == 2  # as a caveat, and with the data
    markdown = files.markdown.read_text(encoding="utf-8")
    assert LEAK in markdown
    assert LEFT in markdown


def test_a_page_of_sound_data_says_that(tmp_path, study, cells):  # noqa: F811
    manifest = fabricated_manifest(tmp_path)
    fine = manifest.with_videos(video for video in manifest.videos if video.status == "ok")
    text = write_report(tmp_path, tabled(study, cells), study, *cells, manifest=fine).html.read_text(
        encoding="utf-8"
    )
    assert "Every video decodes without a complaint" in text
    assert "never stand on both sides" in text
    assert "leaks were allowed" not in text
