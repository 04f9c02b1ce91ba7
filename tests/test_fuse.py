"""Late fusion against loops and scikit-learn; what may not be fused; the verb on stored runs."""

import dataclasses
import json

import numpy as np
import pytest

from study_tiny import CPU, run_here, tiny_study
from test_cli import complaint, own_cache, run, train  # noqa: F401
from timelift.comparison.continuing import continue_study
from timelift.comparison.evidence import UNBOUNDED
from timelift.comparison.fuse import (
    check_same_questions,
    mean_of_probabilities,
    names_below,
    sum_of_logits,
    weighted_probabilities,
)
from timelift.comparison.fused_row import FusedRow
from timelift.comparison.over_videos import interval_over_videos
from timelift.comparison.study import Study
from timelift.comparison.study_file import parse_study, write_study
from timelift.evaluation.evaluate import ALONE
from timelift.evaluation.svm import fit_svm, on_unit_sphere, svm_logits
from timelift.records import Manifest, Predictions, Recipe, Run, UsageError, Video
from timelift.records.predictions import read_predictions, softmax, write_predictions
from timelift.records.run import read_run, write_run
from timelift.runs.data import PreparedData
from timelift.runs.fuse import fuse, read_fuser, read_member, write_fused
from timelift.runs.fused_rows import check_fused_rows, fused_seeds
from timelift.runs.judging import Asked, judged
from videos_tiny import untimed_table, write_net, write_videos

CLASSES = ("a", "b", "c")


def answers(seed, videos=11, views=2, classes=CLASSES, right=0.0, missing=True):
    """Random answers; `right` is added to the label's logit; the first video lacks its last view."""
    rng = np.random.default_rng(seed)
    labels = np.arange(videos) % len(classes)
    logits = rng.normal(size=(videos, views, len(classes)))
    logits[np.arange(videos), :, labels] += right
    if missing and views > 1:
        logits[0, -1] = np.nan
    return Predictions(
        videos=tuple(f"../data/{classes[label]}/{i}.avi" for i, label in enumerate(labels)),
        groups=tuple(f"g{i // 3}" for i in range(videos)),
        labels=labels,
        classes=classes,
        clip_logits=logits.astype(np.float32),
    )


def test_each_rule_is_what_a_loop_says():
    members = [answers(0), answers(1, views=3), answers(2, views=1)]
    weights = (1.0, 0.0, 3.0)
    plain, summed, weighted = (
        mean_of_probabilities(members),
        sum_of_logits(members),
        weighted_probabilities(members, weights),
    )
    for video in range(11):
        views = [member.clip_logits[video] for member in members]
        there = [rows[~np.isnan(rows).any(axis=1)].astype(np.float64) for rows in views]
        own = [softmax(rows).mean(axis=0) for rows in there]
        np.testing.assert_allclose(plain.scores()[video], sum(own) / 3, atol=1e-6)
        np.testing.assert_allclose(
            summed.clip_logits[video, 0], sum(rows.mean(axis=0) for rows in there), atol=1e-5
        )
        np.testing.assert_allclose(weighted.scores()[video], (own[0] + 3 * own[2]) / 4, atol=1e-6)
    assert not np.allclose(plain.scores(), weighted.scores(), atol=1e-3)


def test_a_network_fused_with_itself_answers_as_alone():
    one = answers(3)
    np.testing.assert_allclose(mean_of_probabilities([one, one]).scores(), one.scores(), atol=1e-6)


@pytest.mark.parametrize("weights", [(1.0,), (1.0, -1.0), (0.0, 0.0), (1.0, np.nan)])
def test_weights_that_cannot_be_are_refused(weights):
    with pytest.raises(UsageError, match="weight"):
        weighted_probabilities([answers(0), answers(1)], weights)


def other(**changes):
    return dataclasses.replace(answers(1), **changes)


SWAPPED = (1, 0, *range(2, 11))
ONE = answers(1)


@pytest.mark.parametrize(
    ("second", "told"),
    [
        (other(classes=("a", "b", "d")), r"other classes \('c' in the first alone, 'd' in the second"),
        (other(classes=("b", "a", "c")), "same classes in another order .number 1 is 'a' and 'b'"),
        (answers(1, videos=10), r"11 and 10 videos \('b/10.avi' in the first alone"),
        (
            other(videos=tuple(ONE.videos[i] for i in SWAPPED)),
            r"same videos in another order .number 1 is 'a/0",
        ),
        (other(videos=(*ONE.videos[:-1], "../data/b/new.avi")), r"other videos \('b/10.avi' in the first"),
        (other(labels=np.array([2, *ONE.labels[1:]])), "a/0.avi is labelled 'a' and 'c'"),
        (other(groups=("x", *ONE.groups[1:])), "other groups of videos .number 1 is 'g0' and 'x'"),
    ],
)
def test_other_questions_are_refused_with_the_difference(second, told):
    with pytest.raises(UsageError, match=told):
        check_same_questions(["one/", "two/"], [answers(0), second])


def test_videos_are_known_wherever_the_runs_lie():
    nearer = other(videos=tuple(name.replace("../data", "../../all/data") for name in ONE.videos))
    check_same_questions(["one/", "two/"], [answers(0), nearer])
    assert names_below(("x/1.avi", "x/2.avi")) == ("1.avi", "2.avi")
    assert names_below(("1.avi", "x/2.avi")) == ("1.avi", "x/2.avi")
    assert names_below(()) == ()
    with pytest.raises(UsageError, match="give two or more"):
        check_same_questions(["one/"], [answers(0)])


def test_the_interval_over_videos_is_that_of_group_means_when_groups_are_equal():
    from scipy import stats

    of_group = np.random.default_rng(2).normal(size=(7, 1)) + np.random.default_rng(3).normal(size=(7, 3))
    groups = [f"g{g}" for g in range(7) for _ in range(3)]
    low, high = interval_over_videos(of_group.ravel(), groups, level=0.1)
    means = of_group.mean(axis=1)
    oracle = stats.t.interval(0.9, 6, means.mean(), stats.sem(means))
    assert (low, high) == pytest.approx(oracle)
    single = interval_over_videos(of_group.ravel(), None)
    assert single[1] - single[0] < high - low  # videos of a group are alike: independent they would be surer
    assert interval_over_videos(np.array([1.0, 0.0]), ("a", "a")) == UNBOUNDED


@pytest.mark.parametrize("classes", [2, 3])
def test_the_machine_is_scikit_learns(classes):
    from sklearn.svm import LinearSVC

    rng = np.random.default_rng(classes)
    labels = np.arange(30) % classes
    rows = rng.normal(size=(30, 5)) + labels[:, None]
    oracle = LinearSVC(C=0.1, max_iter=100_000, random_state=0).fit(rows, labels)
    machine = fit_svm(rows, labels, 0.1, classes)
    np.testing.assert_array_equal(machine.decide(rows).argmax(axis=1), oracle.predict(rows))
    if classes > 2:
        np.testing.assert_allclose(machine.decide(rows), oracle.decision_function(rows))
    with pytest.raises(UsageError, match=f"class number {classes} has no video"):
        fit_svm(rows, labels, 0.1, classes + 1)
    some = svm_logits(rows, labels * 2, rows, 0.1, 2 * classes)
    assert np.isneginf(some[:, 1]).all()
    np.testing.assert_array_equal(some.argmax(axis=1), 2 * oracle.predict(rows))


def test_rows_of_length_one_and_zero_rows():
    rows = on_unit_sphere(np.array([[3.0, 4.0], [0.0, 0.0]]))
    np.testing.assert_allclose(rows, [[0.6, 0.8], [0, 0]])


def record(variant, seed=0, **changes):
    return Run(variant, seed, Recipe(), CLASSES, "data", "train", "random", "last epoch", 10, **changes)


def member(tmp_path, name, seed, validation=True):
    folder = tmp_path / name
    folder.mkdir()
    write_predictions(answers(seed, right=1.0), folder / "predictions.npz")
    if validation:
        write_predictions(answers(seed + 100, videos=31, right=1.0), folder / "validation.npz")
    write_run(record(name, multiply_adds=5), folder)
    return folder


def test_the_machine_learns_on_validation_videos_alone(tmp_path):
    folders = [member(tmp_path, "rgb", 0), member(tmp_path, "flow", 1)]
    members = [read_member(folder) for folder in folders]
    fuser, fused = fuse(members, "svm")
    other_test = dataclasses.replace(members[0], test=answers(50))
    assert np.array_equal(fuse([other_test, members[1]], "svm")[0].svm.coefficients, fuser.svm.coefficients)
    write_fused(fuser, members, fused, tmp_path / "both")
    stored, paths = read_fuser(tmp_path / "both")
    assert paths == [folder.resolve() for folder in folders]
    again = stored([member.test for member in members])
    np.testing.assert_allclose(again.clip_logits, fused.clip_logits)
    assert not (tmp_path / "both" / "validation.npz").exists()  # the machine has seen those videos
    assert (stored.strength, str(stored)) == (fuser.strength, str(fuser))


def test_a_folder_like_a_runs_can_be_fused_again(tmp_path):
    members = [read_member(member(tmp_path, name, seed)) for seed, name in enumerate(("rgb", "flow"))]
    fuser, fused = fuse(members, "mean")
    write_fused(fuser, members, fused, tmp_path / "both")
    told = read_run(tmp_path / "both")
    assert told.variant == "fused (mean): rgb & flow"
    assert (told.parameters, told.multiply_adds, told.data_digest) == (20, 10, "data")
    assert told.metrics["acc/top1/video"] == fused.correct().mean()
    third = read_member(member(tmp_path, "third", 2))
    fuse([read_member(tmp_path / "both"), third], "svm")


def test_without_validation_answers_nothing_is_fitted(tmp_path):
    members = [read_member(member(tmp_path, "rgb", 0)), read_member(member(tmp_path, "old", 1, False))]
    with pytest.raises(UsageError, match=r"old has no predictions of validation videos.*train again"):
        fuse(members, "svm")
    _, fused = fuse(members, "mean")
    assert len(fused.videos) == 11


def test_seed_i_is_fused_with_seed_i():
    rgb = [(record("rgb", seed), answers(seed)) for seed in (0, 1, 2)]
    flow = [(record("flow", seed), answers(10 + seed)) for seed in (2, 1)]
    rows = fused_seeds(FusedRow("two streams", ("rgb", "flow")), [*rgb, *flow])
    assert [(made.variant, made.seed) for made, _ in rows] == [("two streams", 1), ("two streams", 2)]
    np.testing.assert_array_equal(
        rows[0][1].clip_logits, mean_of_probabilities([answers(1), answers(11)]).clip_logits
    )


def test_the_verb_fuses_trained_runs_and_says_what_it_gains(tmp_path, capsys):
    data = write_videos(tmp_path / "videos", splits=("train", "val", "test"))
    assert train(data, tmp_path / "one") == 0
    (tmp_path / "deeper").mkdir()
    assert train(data, tmp_path / "deeper" / "two", "--seed", 1) == 0
    validation = read_predictions(tmp_path / "one" / "validation.npz")
    assert validation.correct().mean() == read_run(tmp_path / "one").metrics["acc/top1/validation"]
    capsys.readouterr()
    words = ("fuse", tmp_path / "one", tmp_path / "deeper" / "two", "--output")
    assert run(*words, tmp_path / "both") == 0
    shown = capsys.readouterr().out
    assert "mean of probabilities" in shown
    assert "12 videos in 12 groups" in shown
    fused = read_predictions(tmp_path / "both" / "predictions.npz")
    both = [read_predictions(path / "predictions.npz") for path in words[1:3]]
    np.testing.assert_allclose(fused.scores(), sum(one.scores() for one in both) / 2, atol=1e-6)
    assert json.loads((tmp_path / "both" / "fusion.json").read_text())["members"] == [
        "../one",
        "../deeper/two",
    ]
    assert run(*words, tmp_path / "svm", "--method", "svm") == 0
    assert run(*words, tmp_path / "weighted", "--method", "weighted", "--weights", "1,2") == 0
    assert "finished run already" in complaint(capsys, *words, tmp_path / "both", code=2)
    assert "numbers with commas" in complaint(capsys, *words, tmp_path / "x", "--weights", "a", code=2)
    assert "mean, sum, weighted or svm" in complaint(capsys, *words, tmp_path / "x", "--method", "no", code=2)
    assert "no finished run" in complaint(capsys, "fuse", tmp_path, tmp_path / "one", code=1)


STUDY = """
data = "videos"
variants = ["timm:a", "timm:b"]
[fused."two streams"]
of = ["timm:a", "timm:b"]
[fused.late]
of = ["timm:b", "timm:a"]
method = "weighted"
weights = [1, 2.5]
"""


def test_fused_rows_of_a_study_file_are_written_and_read_back(tmp_path):
    (tmp_path / "s.toml").write_text(STUDY)
    study = parse_study(tmp_path / "s.toml")
    assert study.fused == (
        FusedRow("two streams", ("timm:a", "timm:b")),
        FusedRow("late", ("timm:b", "timm:a"), "weighted", (1.0, 2.5)),
    )
    write_study(study, tmp_path)
    assert parse_study(tmp_path / "study.toml").fused == study.fused
    fewer = dataclasses.replace(study, fused=study.fused[:1])
    assert continue_study(fewer, study).fused == study.fused


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('of = ["timm:b", "timm:a"]', 'of = ["timm:b", "c"]', "line 7: fused.late.of: 'c' is not one of"),
        ('of = ["timm:b", "timm:a"]', 'of = ["timm:b"]', "line 7: fused.late.of: .* two or more"),
        ("weights = [1, 2.5]", "weights = [1]", "line 9: fused.late.weights: 1 weight.* for 2"),
        ('method = "weighted"', 'method = "best"', "line 8: fused.late.method: 'best' came"),
        ("[fused.late]", "[fused.'timm:a']", "is a variant; give the fusion another name"),
        ('method = "weighted"', 'methods = "x"', "line 8: fused.late.methods: unknown"),
    ],
)
def test_fused_rows_that_cannot_be_are_named_with_their_line(tmp_path, old, new, told):
    (tmp_path / "s.toml").write_text(STUDY.replace(old, new))
    with pytest.raises(UsageError, match=told):
        parse_study(tmp_path / "s.toml")


@pytest.mark.slow
def test_a_study_judges_a_fused_row_as_any_other(tmp_path, capsys):
    data, net = write_videos(tmp_path / "videos"), write_net(tmp_path)
    study = tiny_study(data, net)
    one, two = study.variants
    rows = (FusedRow("both", (one, two)), FusedRow("machine", (one, two), "sum"))
    run_here(dataclasses.replace(study, seeds=3, max_seeds=3, fused=rows), tmp_path / "study")
    assert run("report", tmp_path / "study") == 0
    table = {row["variant"]: row for row in untimed_table(tmp_path / "study")}
    assert set(table) == {
        *(str(v) for v in parse_study(tmp_path / "study" / "study.toml").variants),
        "both",
        "machine",
    }
    assert table["both"]["runs"] == "3"


def test_fused_rows_can_be_changed_and_taken_back():
    study = Study(name="s", data="/d", variants=("a", "b"), fused=(FusedRow("both", ("a", "b"), "svm"),))
    for rows in ((FusedRow("both", ("a", "b")),), ()):
        assert continue_study(study, dataclasses.replace(study, fused=rows)).fused == rows
    last = dataclasses.replace(study, selection="last", fused=())
    with pytest.raises(UsageError, match="does not hold back validation videos"):
        continue_study(last, dataclasses.replace(last, fused=study.fused))


def test_a_fused_row_has_a_name_of_its_own():
    for name in ("a", "linear probe"):
        with pytest.raises(UsageError, match="name of another row"):
            Study(name="s", data="/d", variants=("a", "b"), fused=(FusedRow(name, ("a", "b")),))


def test_a_fused_row_may_have_a_published_figure(tmp_path):
    text = 'data = "d"\nvariants = ["a", "b"]\n[fused.both]\nof = ["a", "b"]\n'
    (tmp_path / "s.toml").write_text(f'{text}[published]\nsource = "P"\nboth = [0.8]\n')
    published = parse_study(tmp_path / "s.toml").published
    assert published is not None
    figure = published.of("both")
    assert figure is not None
    assert figure.mean == 0.8


def test_other_validation_videos_are_no_hindrance_where_nothing_is_fitted(tmp_path):
    first, second = (read_member(member(tmp_path, name, seed)) for seed, name in enumerate("ab"))
    assert second.validation is not None
    second = dataclasses.replace(second, validation=answers(9, videos=4))
    fuser, fused = fuse([first, second], "mean")
    run_of = write_fused(fuser, [first, second], fused, tmp_path / "fused")
    assert not (tmp_path / "fused/validation.npz").exists()
    assert not [name for name in run_of.metrics if name.endswith("/clip")]  # there is no clip alone


def test_members_that_take_other_data_are_not_asked_together(tmp_path):
    for name, channels in (("rgb", 3), ("flow", 2)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.json").write_text(json.dumps({"clip": {"channels": channels}}))
    (tmp_path / "fused").mkdir()
    told = {"method": "mean", "weights": [], "members": ["../rgb", "../flow"]}
    (tmp_path / "fused/fusion.json").write_text(json.dumps(told))
    with pytest.raises(UsageError, match=r"takes videos and .*takes optical flow"):
        judged(tmp_path / "fused", Manifest("/", CLASSES, ()), Asked(), CPU, share=ALONE, talk=print)


def test_a_machine_without_validation_videos_is_refused_before_the_first_run():
    videos = tuple(Video(f"{split}/{label}", label, split) for split in ("train", "test") for label in "ab")
    study = Study("s", "d", ("x", "y"), fused=(FusedRow("machine", ("x", "y"), "svm"),))
    without = PreparedData(Manifest("/", ("a", "b"), videos), "last epoch", ())
    with pytest.raises(UsageError, match=r"none shows 'a'; give validation videos"):
        check_fused_rows(study, without)
    val = tuple(dataclasses.replace(video, split="val") for video in videos[:2])
    check_fused_rows(study, PreparedData(Manifest("/", ("a", "b"), (*videos, *val)), "validation", ()))
    check_fused_rows(dataclasses.replace(study, fused=()), without)
