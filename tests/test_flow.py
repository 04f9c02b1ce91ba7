"""The flow of videos: their motion, found within half a pixel; a data set that is whole and resumable."""

import dataclasses
import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from flow_tiny import gliding, write_gliding
from timelift.data import flow
from timelift.data.decode import decode_frames, every_frame
from timelift.data.encode import encode_grey
from timelift.data.examine import examine
from timelift.data.flow import begin_flow, make_flow
from timelift.data.flow_folder import FlowFacts, flow_frames, read_facts, write_flow
from timelift.data.flow_methods import FlowSettings, flow_between
from timelift.data.flow_vectors import displacements, quantised, resized_flow
from timelift.data.frames import DecodedOnDemand
from timelift.data.layouts import read_dataset
from timelift.data.leaks import check_leaks
from timelift.data.scan import scan, sha256_of
from timelift.data.tree import FLOW_SETTINGS
from timelift.records import ClipFormat, DataError, UsageError
from timelift.records.alone import alone_in
from timelift.records.video import Manifest, Video, read_manifest

DIS = FlowSettings()


@pytest.mark.parametrize("method", ["dis", "tvl1"])
@pytest.mark.parametrize(("dx", "dy"), [(3, -2), (0, 0), (-4, 1)])
def test_flow_of_a_pattern_that_moves_is_its_motion(method, dx, dy):
    first, second = gliding(dx, dy, seed=0, height=61, width=75)
    found = flow_between(method)(first, second)
    assert found.shape == (61, 75, 2)
    assert np.abs(found - (dx, dy))[12:-12, 12:-12].max() < 0.5
    kept = displacements(quantised(found, 20), 20)
    assert np.abs(kept - (dx, dy))[12:-12, 12:-12].max() < 0.5


def test_frames_too_small_for_dis_are_told_what_is_not():
    tiny = np.zeros((5, 6), np.uint8)
    with pytest.raises(DataError, match=r"6 x 5.*tvl1"):
        flow_between("dis")(tiny, tiny)
    assert not flow_between("tvl1")(tiny, tiny).any()


@pytest.mark.parametrize("wrong", [{"method": "farneback"}, {"bound": 0}, {"short_side": 0}])
def test_settings_that_make_no_flow_are_refused(wrong):
    with pytest.raises(UsageError):
        FlowSettings(**wrong)


def scanned(root: Path) -> Manifest:
    return scan(read_dataset(root).manifest, workers=1)


def files(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


@pytest.fixture(scope="module")
def videos(tmp_path_factory) -> Manifest:
    return scanned(write_gliding(tmp_path_factory.mktemp("videos"), per_class=1, frames=4))


@pytest.fixture(scope="module")
def made(videos, tmp_path_factory) -> Path:
    output = tmp_path_factory.mktemp("whole") / "flow"
    make_flow(videos, output, DIS, workers=1)
    return output


def test_the_data_set_has_the_same_labels_and_says_how_it_was_made(videos, made):
    found = read_dataset(made).manifest
    assert found == read_manifest(made / "manifest.csv")
    keys = [(v.path, v.label, v.split, v.group) for v in videos.videos]
    assert [(v.path, v.label, v.split, v.group) for v in found.videos] == keys
    for before, video in zip(videos.videos, found.videos, strict=True):
        assert (video.status, video.frames, video.width, video.height) == ("ok", 3, 56, 48)
        assert video.sha256 == sha256_of(made / video.path)
        told = json.loads((made / video.path / "flow.json").read_text())
        assert told["settings"] == dataclasses.asdict(DIS) | {"opencv": cv2.__version__}
        assert (told["source_sha256"], told["source_width"]) == (before.sha256, 56)
    assert scan(found, workers=1) == found  # what a scan says of it is what is written


def test_stored_fields_are_the_motion(made):
    for video in read_dataset(made).manifest.videos:
        fields = displacements(decode_frames(made / video.path, None, short_side=None, channels=2), 20)
        u = 2 if video.label == "right" else -2
        assert fields.shape == (3, 48, 56, 2)
        assert np.abs(fields - (u, 0))[:, 12:-12, 12:-12].max() < 0.5


def test_fields_are_read_by_index_and_scaled(made):
    folder = made / "test/left/clip 0.mkv"
    all_fields = flow_frames(folder, None, short_side=None)
    np.testing.assert_array_equal(flow_frames(folder, [2, 0, 2], short_side=None), all_fields[[2, 0, 2]])
    smaller = flow_frames(folder, [1], short_side=24)
    np.testing.assert_array_equal(smaller[0], resized_flow(all_fields[1], 28, 24))
    with pytest.raises(DataError, match="field 3"):
        flow_frames(folder, [3], short_side=None)


def test_flow_is_not_read_as_pixels_nor_pixels_as_flow(videos, made):
    with pytest.raises(DataError, match=r"set clip\.channels=2"):
        decode_frames(made / "test/left/clip 0.mkv", [0], short_side=None, channels=3)
    with pytest.raises(DataError, match="timelift flow"):
        decode_frames(videos.full_path(videos.videos[0]), [0], short_side=None, channels=2)


def test_frames_one_by_one_are_the_frames_together(videos):
    path = videos.full_path(videos.videos[0])
    together = decode_frames(path, None, short_side=20, channels=1)
    np.testing.assert_array_equal(list(every_frame(path, short_side=20, channels=1)), together)


def test_an_interrupted_run_goes_on_to_the_same_bytes(videos, made, tmp_path):
    whole, output = files(made), tmp_path / "flow"
    shutil.copytree(made, output)
    (output / "manifest.csv").unlink()
    shutil.rmtree(output / "train/left")  # not reached
    (output / "train/right/clip 0.mkv").rename(output / "train/right/.clip 0.mkv.partial")  # under way
    (output / "test/left/clip 0.mkv/flow_y_00001.jpg").write_bytes(b"")  # lost with the power
    untouched = output / "test/right/clip 0.mkv/flow.json"
    written = untouched.stat().st_mtime_ns
    with pytest.raises(DataError, match="not finished"):
        read_dataset(output)
    seen: list[int] = []
    make_flow(videos, output, DIS, workers=1, progress=seen.append)
    assert files(output) == whole
    assert untouched.stat().st_mtime_ns == written
    assert seen == [1, 2, 3, 4]


def test_other_settings_do_not_go_on(videos, made):
    with pytest.raises(UsageError, match=r"bound 20\.0"):
        make_flow(videos, made, FlowSettings(bound=10), workers=1)


def test_parts_of_a_film_share_its_flow(tmp_path):
    (tmp_path / "film.mkv").write_bytes(encode_grey(gliding(2, 0, seed=0, frames=12), 10))
    rows = ["film.mkv,a,0,0.4", "film.mkv,b,0.5,0.9", "film.mkv,a,0.9,1.0", "film.mkv,b,1.0,"]
    (tmp_path / "parts.csv").write_text("\n".join(["path,label,start,end", *rows]))
    videos = scanned(tmp_path / "parts.csv")
    assert [(v.first_frame, v.frames) for v in videos.videos] == [(0, 4), (5, 4), (9, 1), (10, 2)]
    flow_of = make_flow(videos, tmp_path / "flow", DIS, workers=1).videos
    assert [(v.first_frame, v.frames) for v in flow_of] == [(0, 3), (5, 3), (9, 0), (10, 1)]
    assert [v.status for v in flow_of] == ["ok", "ok", "unreadable", "ok"]
    assert "one frame" in flow_of[2].reason
    assert [v.name for v in flow_of] == [v.name for v in videos.videos]
    whole_film = list(flow.fields(tmp_path / "film.mkv", DIS, 48))
    flows = read_manifest(tmp_path / "flow/manifest.csv")
    source = DecodedOnDemand(flows, ClipFormat(channels=2, short_side=48))
    second = source.frames(flows.videos[1], [0, 2])
    stored = [
        decode_frames(flows.full_path(flows.videos[1]), [i], short_side=None, channels=2)[0] for i in (5, 7)
    ]
    np.testing.assert_array_equal(second, stored)
    assert np.abs(second.astype(int) - np.stack([whole_film[5], whole_film[7]])).max() <= 6  # JPEG


def test_a_video_that_changed_since_the_scan_has_no_flow(videos, tmp_path):
    job = flow._job(videos, [videos.videos[0]], tmp_path / "flow", DIS)
    assert "changed" in flow.flowed(job | {"frames": 9})["reason"]
    assert list(tmp_path.iterdir()) == []


def test_what_has_no_flow_stands_in_the_manifest_with_its_reason(tmp_path):
    root = write_gliding(tmp_path / "videos", per_class=1, frames=3)
    (root / "train/left/one.mkv").write_bytes(encode_grey(gliding(0, 0, 0, frames=1), 25))
    (root / "train/left/none.mkv").write_bytes(b"no video")
    (root / "train/left/tiny.mkv").write_bytes(encode_grey(gliding(0, 0, 0, height=8, width=8), 25))
    made = make_flow(scanned(root), tmp_path / "flow", DIS, workers=1)
    bad = {Path(v.path).name: v for v in made.videos if v.status != "ok"}
    assert set(bad) == {"one.mkv", "none.mkv", "tiny.mkv"}
    assert {(v.status, v.frames, v.sha256) for v in bad.values()} == {("unreadable", 0, "")}
    assert "one frame" in bad["one.mkv"].reason
    assert bad["none.mkv"].reason.startswith("its video: ")
    assert "tvl1" in bad["tiny.mkv"].reason


def test_flow_of_a_damaged_video_stays_damaged_whoever_scans_it(videos, tmp_path):
    hurt = dataclasses.replace(
        videos.videos[0], status="damaged", reason="a packet is cut off", declared_frames=9
    )
    made = make_flow(videos.with_videos([hurt]), tmp_path / "flow", DIS, workers=1)
    (video,) = made.videos
    assert video.path == "clip 0.mkv"
    assert (video.status, video.frames, video.declared_frames) == ("damaged", 3, 8)
    assert video.reason == "its video: a packet is cut off"
    assert scan(made, workers=1) == made


def test_frames_are_scaled_before_their_flow_is_computed(videos, tmp_path):
    source = videos.full_path(videos.videos[0])
    settings = FlowSettings(short_side=24)
    fields = np.stack(list(flow.fields(source, settings, 48)))
    assert fields.shape == (3, 24, 28, 2)
    u = -1.0 if videos.videos[0].label == "left" else 1.0
    assert np.abs(displacements(fields, 20) - (u, 0))[:, 8:-8, 8:-8].max() < 0.5


def test_damaged_flow_holds_the_fields_before_the_damage(made, tmp_path):
    folder = tmp_path / "clip"
    shutil.copytree(made / "test/left/clip 0.mkv", folder)
    (folder / "flow_x_00002.jpg").write_bytes(b"no picture")
    facts = examine(folder)
    assert (facts.status, facts.frames, facts.declared_frames) == ("damaged", 2, 3)
    assert len(decode_frames(folder, None, short_side=None, channels=2)) == 2
    with pytest.raises(DataError, match="flow_x_00002"):
        decode_frames(folder, [2], short_side=None, channels=2)
    (folder / "flow.json").write_text("{}")
    assert examine(folder).status == "unreadable"
    with pytest.raises(DataError, match=r"flow\.json"):
        read_facts(folder)


def test_still_videos_with_the_same_flow_are_not_the_same_video(tmp_path):
    root = tmp_path / "videos"
    for label, grey in (("dark", 10), ("light", 200)):
        (root / label).mkdir(parents=True)
        frames = np.full((3, 24, 24), grey, np.uint8)
        (root / label / "still.mkv").write_bytes(encode_grey(frames, 25))
    made = make_flow(scanned(root), tmp_path / "flow", DIS, workers=1)
    fields = [decode_frames(made.full_path(v), None, short_side=None, channels=2) for v in made.videos]
    np.testing.assert_array_equal(*fields)
    assert len({video.sha256 for video in made.videos}) == 2


def test_a_folder_with_other_files_is_left_as_it_is(tmp_path):
    frames = tmp_path / "pics/a/one"
    frames.mkdir(parents=True)
    for index, picture in enumerate(gliding(2, 0, seed=0, frames=3)):
        cv2.imwrite(str(frames / f"{index}.png"), picture)
    before = files(tmp_path)
    videos = scan(Manifest(str(tmp_path / "pics"), ("a",), (Video("a/one", "a"),)), workers=1)
    with pytest.raises(UsageError, match="holds other files"):
        make_flow(videos, tmp_path / "pics", DIS, workers=1)
    facts = FlowFacts(DIS, "", 56, 48)
    with pytest.raises(DataError, match="stays as it is"):
        write_flow(frames, iter([np.zeros((4, 4, 2), np.uint8)]), facts)
    assert files(tmp_path) == before


def test_one_process_at_a_time_makes_flow(videos, tmp_path):
    begin_flow(tmp_path, DIS)
    with alone_in(tmp_path / FLOW_SETTINGS), pytest.raises(UsageError, match="another process"):
        make_flow(videos, tmp_path, DIS, workers=1)


def test_copies_are_copies_in_their_flow_too(tmp_path):
    film = encode_grey(gliding(2, 0, seed=0, frames=12), 10)
    (tmp_path / "film.mkv").write_bytes(film)
    (tmp_path / "copy.mkv").write_bytes(film)
    rows = ["film.mkv,a,0,0.4,train", "copy.mkv,b,0.5,0.9,test"]
    (tmp_path / "parts.csv").write_text("\n".join(["path,label,start,end,split", *rows]))
    made = make_flow(scanned(tmp_path / "parts.csv"), tmp_path / "flow", DIS, workers=1)
    with pytest.raises(DataError, match="the same bytes"):
        check_leaks(made)
    assert scan(made, workers=1) == made


def test_flow_that_cannot_be_read_says_what_to_do(videos, tmp_path):
    made = make_flow(videos, tmp_path / "flow", DIS, workers=1)
    hurt = made.full_path(made.videos[0])
    (hurt / "flow.json").write_text("{")
    assert "run `timelift flow` again" in examine(hurt).reason
