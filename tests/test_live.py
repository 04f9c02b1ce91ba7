"""`timelift stream` and what it is made of: a trained network follows videos and cameras as they come."""

import csv
import io
import json
import signal
import threading
import time

import cv2
import numpy as np
import pytest
import torch

import timelift
from test_cli import complaint, own_cache, run  # noqa: F401
from timelift.data.annotate import annotated
from timelift.data.decode import decode_frames, every_frame
from timelift.data.encode import encode_grey, writing_video
from timelift.data.examine import examine
from timelift.data.feed import Feed
from timelift.data.live import LiveFrame, frames_of_camera, frames_of_file
from timelift.deploy import frozen_stream
from timelift.deploy.frozen_stream import FrozenStream
from timelift.evaluation.now import best, csv_lines
from timelift.records import ClipFormat, DataError, UsageError
from timelift.records.predictions import softmax
from timelift.runs.live import Follower, follow
from timelift.runs.windows import answers_over_time
from videos_tiny import moving_bar, write_net

CLIP = ClipFormat(frames=4, stride=2, short_side=20, size=16, mean=(0.4, 0.5, 0.3), std=(0.2, 0.3, 0.2))
CLASSES = ("left", "right, then left", "höher", "down", "up", "in", "out")
CPU = torch.device("cpu")
FRAME_BY_FRAME = {
    "causal": ("Inflate(frames=3, causal=True)", "frame by frame"),
    "framewise": ("Framewise()", "frame by frame"),
    "ahead": ("Inflate(frames=3) @ first(1)", "frame by frame, the last 1 of them again with each"),
    "strided": ("AvgPool(2, causal=True) @ named('0')", "frame by frame"),
}
IN_CLIPS = {
    "whole": ("Gate() @ named('4')", "not frame by frame (4 is a SelfGate"),
    "far": ("Inflate(frames=5)", "not frame by frame (its answers look 4 frames ahead, and a clip has 4)"),
    "pooled": ("MaxPool(2) @ named('3')", "not frame by frame (3 sees frames behind its own"),
}


@pytest.fixture
def saved(tmp_path):
    """Makes the folder of a run with this rule."""

    def made(rule, clip=CLIP):
        folder = tmp_path / "run"
        variant = f"{write_net(tmp_path)} {rule}"
        torch.manual_seed(4)
        model = timelift.build_variant(
            timelift.parse_variant(variant), 7, clip.in_channels, clip.frames, clip.size
        )
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=0.5)
        timelift.save(model, variant, CLASSES, clip, folder)
        return folder

    return made


@pytest.fixture
def video(tmp_path):
    """A file of so many frames."""

    def made(frames=19, name="a bar.mkv"):
        path = tmp_path / name
        path.write_bytes(encode_grey(moving_bar(True, 3, frames), 25))
        return path

    return made


def followed(model, path, **options):
    follower = Follower(model, CPU, **options)
    frames = frames_of_file(path, CLIP.short_side, CLIP.channels, pictures=False)
    return [(f.index, p) for f, p in follow(frames, follower) if p is not None], follower


def clip_of(model, path, numbers):
    """The network's clip of these frames of a file, (1, C, T, H, W)."""
    return model.transform(decode_frames(path, numbers, short_side=CLIP.short_side, channels=CLIP.channels))


# --- what is answered ---


@pytest.mark.parametrize("average", [None, 1, 3])
@pytest.mark.parametrize("rule", FRAME_BY_FRAME)
def test_frame_by_frame_the_newest_frames_answers_are_averaged(rule, average, saved, video):
    model, path = timelift.load(saved(FRAME_BY_FRAME[rule][0])), video()
    answers, follower = followed(model, path, average=average)
    assert follower.words == FRAME_BY_FRAME[rule][1]
    stride = 2 if rule == "strided" else 1
    assert [index for index, _ in answers] == list(range(0, 19, 2 * stride))
    rows = max(1, (average or CLIP.frames) // stride)
    newest = []
    for index, probabilities in answers:
        with torch.no_grad():
            newest.append(model.per_frame(clip_of(model, path, list(range(0, index + 1, 2))))[0, -1])
        wanted = softmax(torch.stack(newest[-rows:]).mean(dim=0).numpy())
        np.testing.assert_allclose(probabilities, wanted, atol=1e-5)


@pytest.mark.parametrize("rule", FRAME_BY_FRAME)
def test_an_optimized_stream_answers_as_it_does_otherwise(rule, saved, video, monkeypatch):
    monkeypatch.setattr(frozen_stream, "WORTH", np.inf)  # a frozen one is taken, however slow
    model, path = timelift.load(saved(FRAME_BY_FRAME[rule][0])), video()
    wanted, _ = followed(model, path)
    answers, follower = followed(model, path, optimize=True)
    one_by_one = rule in ("causal", "framewise")
    assert isinstance(follower.stream, FrozenStream) is one_by_one
    assert follower.words.startswith(FRAME_BY_FRAME[rule][1])
    assert ("; frozen, " if one_by_one else "; as it is: ") in follower.words
    for (one, came), (other, ours) in zip(answers, wanted, strict=True):
        assert one == other
        np.testing.assert_allclose(came, ours, atol=1e-5)


@pytest.mark.parametrize("every", [0, 3])
@pytest.mark.parametrize("rule", IN_CLIPS)
def test_other_networks_answer_clips_as_predict_does(rule, every, saved, video):
    model, path = timelift.load(saved(IN_CLIPS[rule][0])), video()
    answers, follower = followed(model, path, every=every)
    assert follower.words.startswith(IN_CLIPS[rule][1])
    assert follower.words.endswith(f"clips of 4 frames that overlap, one every {every or 1}")
    optimized = Follower(model, CPU, every=every, optimize=True)
    assert optimized.words == f"{follower.words}; as it is: only streams are optimized"
    step = 2 * (every or 1)
    windows = answers_over_time(model, path, top=1, window_stride=step, device=CPU)
    assert [index for index, _ in answers] == list(range(6, 19, step))
    for answer, (_, probabilities) in zip(windows, answers, strict=False):
        ((name, probability),) = best(probabilities, CLASSES, 1)
        assert (name, probability) == (answer.label, pytest.approx(answer.probability, abs=1e-5))


@pytest.mark.parametrize(
    "rule", [FRAME_BY_FRAME["causal"][0], IN_CLIPS["whole"][0], "Inflate(4, padding='valid')"]
)
def test_a_video_shorter_than_a_clip_is_answered_with_its_last_frame_repeated(rule, saved, video):
    model, path = timelift.load(saved(rule)), video(3)
    if "valid" in rule:
        with torch.no_grad():
            wanted = softmax(model.per_frame(clip_of(model, path, [0, 2, 2, 2, 2, 2, 2]))[0, 0].numpy())
    elif "Gate" in rule:
        with torch.no_grad():
            wanted = softmax(model(clip_of(model, path, [0, 2, 2, 2]))[0].numpy())
    else:
        with torch.no_grad():
            wanted = softmax(model(clip_of(model, path, [0, 2]))[0].numpy())
    index, probabilities = followed(model, path)[0][-1]
    assert index == 2
    np.testing.assert_allclose(probabilities, wanted, atol=1e-5)


def test_of_dropped_frames_the_next_one_is_seen(saved):
    model = timelift.load(saved("Framewise()"))
    follower, pixels = Follower(model, CPU), np.zeros((20, 20, 3), np.uint8)
    seen = [i for i in (0, 1, 3, 4, 5, 8, 9, 10, 15, 16) if follower.step(i, pixels) is not None]
    assert seen == [0, 3, 4, 8, 10, 15, 16]


def test_a_network_on_flow_is_refused(saved):
    model = timelift.load(saved("Framewise()"))
    model.transform = type(model.transform)(
        ClipFormat(channels=2, mean=(0.5, 0.5), std=(1.0, 1.0)), model.transform.normalise
    )
    with pytest.raises(UsageError, match="takes optical flow"):
        Follower(model, CPU)


# --- the command ---


def test_the_command_says_the_class_over_time(saved, video, capsys):
    folder, path = saved("Inflate(frames=3, causal=True)"), video()
    assert run("stream", folder, path, "--top", 2) == 0
    shown = capsys.readouterr()
    rows = list(csv.DictReader(io.StringIO(shown.out)))
    assert [row["frame"] for row in rows[::2]] == [str(i) for i in range(0, 19, 2)]
    assert [row["seconds"] for row in rows[2:4]] == ["0.080", "0.080"]
    assert [row["rank"] for row in rows[:2]] == ["1", "2"]
    assert {row["class"] for row in rows} <= set(CLASSES)
    assert "frame by frame" in shown.err
    assert "19 frames, 10 answers, 0 dropped (wait)" in shown.err

    assert run("stream", folder, path, "--optimize") == 0
    told = capsys.readouterr()
    assert "frame by frame; " in told.err
    assert len(told.out.splitlines()) == 1 + 10

    assert run("stream", folder, path, "--format", "json", "--top", 7) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["frame"] for line in lines] == list(range(0, 19, 2))
    assert all(sum(c["probability"] for c in line["classes"]) == pytest.approx(1, abs=1e-4) for line in lines)
    assert lines[1]["classes"][0]["class"] == rows[2]["class"]


@pytest.mark.parametrize("name", ["seen.mp4", "seen.mkv", "seen.mov"])
def test_the_command_writes_a_video_with_the_classes_on_it(name, saved, video, tmp_path, capsys):
    path = video()
    assert run("stream", saved("Inflate(frames=3)"), path, "--output", tmp_path / name) == 0
    assert f"wrote {tmp_path / name}" in capsys.readouterr().err.replace("\n", "")
    facts = examine(tmp_path / name)
    assert (facts.status, facts.frames, facts.width, facts.height) == ("ok", 19, 24, 24)
    before = decode_frames(path, None, short_side=None).astype(float)
    after = decode_frames(tmp_path / name, None, short_side=None).astype(float)
    changed = np.abs(after - before).mean(axis=(2, 3))  # (T, rows)
    assert changed[8:, -4:].mean() > 3 * changed[8:, :8].mean()
    assert not (tmp_path / f"{name}.partial").exists()


def test_a_video_that_ends_by_ctrl_c_is_whole(saved, video, tmp_path, monkeypatch, capsys):
    steps = Follower.step

    def step(self, index, pixels):
        if index == 7:
            raise KeyboardInterrupt
        return steps(self, index, pixels)

    monkeypatch.setattr(Follower, "step", step)
    assert run("stream", saved("Framewise()"), video(), "--output", tmp_path / "seen.mp4") == 0
    assert "7 frames, 4 answers" in capsys.readouterr().err
    assert examine(tmp_path / "seen.mp4").frames == 7


def test_a_slow_network_drops_frames_where_that_is_asked(saved, video, monkeypatch, capsys):
    steps = Follower.step

    def step(self, index, pixels):
        time.sleep(0.2)
        return steps(self, index, pixels)

    monkeypatch.setattr(Follower, "step", step)
    assert run("stream", saved("Framewise()"), video(60), "--policy", "drop") == 0
    shown = capsys.readouterr()
    told = next(line for line in shown.err.splitlines() if "dropped" in line)
    dropped = int(told.split(" dropped")[0].split()[-1])
    assert dropped > 0
    assert "(drop)" in told
    frames = [int(row["frame"]) for row in csv.DictReader(io.StringIO(shown.out))]
    assert frames == sorted(set(frames))
    assert len(frames) <= 60 - dropped


def test_mistakes_are_one_line(saved, video, tmp_path, capsys):
    folder, path = saved("Framewise()"), video()
    assert "no such file" in complaint(capsys, "stream", folder, tmp_path / "missing.mp4", code=1)
    assert "csv or json" in complaint(capsys, "stream", folder, path, "--format", "xml", code=2)
    assert "auto, wait or drop" in complaint(capsys, "stream", folder, path, "--policy", "all", code=2)
    assert ".mp4, .mov, .mkv" in complaint(capsys, "stream", folder, path, "--output", "seen.gif", code=2)
    assert "holds no trained network" in complaint(capsys, "stream", tmp_path, path, code=1)
    size = path.stat().st_size
    onto = path.with_suffix(".mp4")
    onto.symlink_to(path)
    assert "is the video that is read" in complaint(capsys, "stream", folder, path, "--output", onto, code=2)
    assert path.stat().st_size == size
    (tmp_path / "empty.mp4").write_bytes(b"")
    output = tmp_path / "seen.mp4"
    assert "empty.mp4" in complaint(
        capsys, "stream", folder, tmp_path / "empty.mp4", "--output", output, code=1
    )
    assert not output.exists()


# --- cameras ---


class Camera:
    """What cv2.VideoCapture is, with pictures in blue, green, red."""

    def __init__(self, pictures):
        self.pictures, self.released = iter(pictures), False

    def isOpened(self):
        return True

    def read(self):
        picture = next(self.pictures, None)
        return picture is not None, picture

    def release(self):
        self.released = True


def noise(count, height=30, width=44):
    return np.random.default_rng(2).integers(0, 256, (count, height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_camera_gives_what_a_folder_of_its_pictures_gives(channels, tmp_path, monkeypatch):
    camera = Camera(noise(4))
    monkeypatch.setattr(cv2, "VideoCapture", lambda number: camera)
    came = []
    with pytest.raises(DataError, match="camera 0 gives no more frames, after 4: was it unplugged"):
        came += frames_of_camera(0, 20, channels, pictures=True)  # by its iterator: those before the end stay
    for i, picture in enumerate(noise(4)):
        cv2.imwrite(str(tmp_path / f"{i}.png"), picture)
    wanted = list(frames_of_file(tmp_path, 20, channels, pictures=True))
    for one, other in zip(came, wanted, strict=True):
        assert one.index == other.index
        assert np.abs(one.pixels.astype(int) - other.pixels.astype(int)).max() <= (2 if channels == 1 else 0)
        np.testing.assert_array_equal(one.picture, other.picture)
    assert camera.released
    assert came[-1].seconds >= came[0].seconds >= 0


def test_the_command_follows_a_camera_to_its_end(saved, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(cv2, "VideoCapture", lambda number: Camera(noise(6)))
    film = tmp_path / "seen.mp4"
    assert run("stream", saved("Framewise()"), "0", "--format", "json", "--output", film) == 1
    shown = capsys.readouterr()
    assert "(drop)" in shown.err
    assert "gives no more frames" in shown.err
    assert json.loads(shown.out.splitlines()[0])["frame"] == 0
    assert examine(film).frames > 0  # what came is kept


def test_a_second_ctrl_c_does_not_cost_the_film(saved, video, tmp_path, monkeypatch):
    steps, close = Follower.step, Feed.close

    def step(self, index, pixels):
        if index == 7:
            signal.raise_signal(signal.SIGTERM)
        return steps(self, index, pixels)

    def closed(self):
        signal.raise_signal(signal.SIGINT)
        close(self)

    monkeypatch.setattr(Follower, "step", step)
    monkeypatch.setattr(Feed, "close", closed)
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    assert run("stream", saved("Framewise()"), video(), "--output", tmp_path / "seen.mp4") == 0
    assert examine(tmp_path / "seen.mp4").frames == 7
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_a_camera_that_is_not_there_is_named(saved, monkeypatch, capsys):
    line = complaint(capsys, "stream", saved("Framewise()"), "987", code=1)
    assert "camera 987 cannot be opened" in line
    monkeypatch.setattr(cv2, "VideoCapture", lambda number: Camera([]))
    with pytest.raises(DataError, match="camera 3 gives no frame"):
        list(frames_of_camera(3, 20, 3, pictures=False))


# --- files, feeds, pictures ---


def test_a_file_gives_the_pixels_that_training_saw(video):
    path = video()
    came = list(frames_of_file(path, 20, 3, pictures=True))
    np.testing.assert_array_equal(
        np.stack([f.pixels for f in came]), decode_frames(path, None, short_side=20)
    )
    np.testing.assert_array_equal(
        np.stack([f.picture for f in came]), np.stack(list(every_frame(path, short_side=None)))
    )
    assert [f.seconds for f in came] == pytest.approx([i / 25 for i in range(19)])
    assert all(f.picture is None for f in frames_of_file(path, 20, 3, pictures=False))


def numbered(count):
    for index in range(count):
        yield LiveFrame(index, index / 1000, np.zeros(0))


def test_a_feed_that_waits_gives_all_frames_in_order():
    feed = Feed(numbered(50), drop=False, room=3)
    came = []
    for frame in feed:
        time.sleep(0.001)
        came.append(frame.index)
    assert came == list(range(50))
    assert feed.dropped == 0


def test_a_feed_that_drops_keeps_the_newest():
    feed = Feed(numbered(50), drop=True, room=3)
    while not feed._ended:
        time.sleep(0.01)
    assert [frame.index for frame in feed] == [47, 48, 49]
    assert feed.dropped == 47


def test_a_paced_feed_is_not_faster_than_its_frames():
    start = time.monotonic()
    assert [frame.index for frame in Feed(numbered(30), drop=True, paced=True, room=40)] == list(range(30))
    assert time.monotonic() - start >= 0.029


def test_what_reading_raises_comes_behind_the_frames():
    def broken():
        yield from numbered(2)
        raise DataError("the cable is out")

    came = iter(Feed(broken(), drop=False))
    assert [next(came).index, next(came).index] == [0, 1]
    with pytest.raises(DataError, match="cable"):
        next(came)


def test_a_feed_that_is_closed_closes_what_it_reads():
    closed = threading.Event()

    def endless():
        try:
            while True:
                yield from numbered(1)
        finally:
            closed.set()

    feed = Feed(endless(), drop=False, room=2)
    next(iter(feed))
    feed.close()
    assert closed.wait(5)


def test_text_stands_on_the_lower_edge():
    picture = np.full((64, 90, 3), 90, np.uint8)
    out = annotated(picture, ["Jürgen 0.91", "走 0.05"])
    np.testing.assert_array_equal(out[:38], picture[:38])
    assert out[38:].max() > 200
    assert (picture == 90).all()
    np.testing.assert_array_equal(annotated(picture, []), picture)


def test_a_film_holds_each_picture_at_its_time(tmp_path):
    with writing_video(tmp_path / "film.mp4") as write:
        for seconds, value in ((0.0, 20), (0.5, 120), (0.5, 200), (2.0, 250)):
            write(np.full((17, 23, 3), value, np.uint8), seconds)
    frames = decode_frames(tmp_path / "film.mp4", None, short_side=None)
    assert frames.shape == (4, 16, 22, 3)
    np.testing.assert_allclose(frames.mean(axis=(1, 2, 3)), [20, 120, 200, 250], atol=4)
    with writing_video(tmp_path / "together.mp4") as write:
        for number in range(20):  # two at once, in the middle
            write(np.full((16, 16, 3), number, np.uint8), (number - (number >= 10)) / 25)
    assert examine(tmp_path / "together.mp4").frames == 20
    with pytest.raises(DataError, match="no picture came"), writing_video(tmp_path / "none.mp4"):
        pass
    assert not (tmp_path / "none.mp4").exists()


def test_lines_are_read_back_by_csv():
    text = "frame,seconds,rank,class,probability\n" + csv_lines(3, 0.12, [('a "b", c', 0.5), ("ü", 0.25)])
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [row["class"] for row in rows] == ['a "b", c', "ü"]
    assert rows[0]["seconds"] == "0.120"
