"""FstCN against its layers in 3-D, its differences against a loop, and the fusion of a video's clips."""

import numpy as np
import pytest
import torch
from torch.nn.functional import conv3d, linear, max_pool3d

from timelift import create_model
from timelift.cli.main import main
from timelift.evaluation.evaluate import evaluate
from timelift.evaluation.metrics import summary
from timelift.records import Manifest, Predictions, UsageError, Video
from timelift.records.fusion import fused, sci_fusion, sparsity_concentration_index
from timelift.records.predictions import read_predictions, softmax, write_predictions
from timelift.systems.fstcn import MiddleAndDifferences
from videos_tiny import settings, write_net, write_videos

FRAMES, SIZE = 4, 60


def small(**options):
    torch.manual_seed(0)
    model = create_model("fstcn", classes=5, frames=FRAMES, size=SIZE, **options).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                parameter.normal_(0, 0.1)
    return model


def clip_of(frames=FRAMES, size=SIZE, seed=1):
    return torch.randn(2, 3, frames, size, size, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("dt", [1, 2, 9])
@pytest.mark.parametrize("frames", range(1, 8))
def test_the_middle_frame_and_every_difference(frames, dt, generator):
    clip = torch.randn(2, 3, frames, 5, 4, generator=generator)
    answer = MiddleAndDifferences(dt)(torch.nn.Identity())(clip)
    assert answer.shape == (2, 3, 1 + frames, 5, 4)
    assert torch.equal(answer[:, :, 0], clip[:, :, frames // 2])
    for t in range(frames):
        later = clip[:, :, min(t + dt, frames - 1)]
        assert torch.equal(answer[:, :, 1 + t], later - clip[:, :, t])


def in_3d(model, frames, differences):
    """The re-implementation's story: clip and differences as two inputs, every layer a 3-D one."""
    net = model.image_net
    paths = net.head.paths.on_clips

    def spatial(layer, x, stride, padding):
        return conv3d(x, layer.weight.unsqueeze(2), layer.bias, (1, stride, stride), (0, padding, padding))

    def scl(x):
        x = max_pool3d(spatial(net.features.conv1, x, 2, 3).relu(), (1, 3, 3), (1, 2, 2))
        x = max_pool3d(spatial(net.features.conv2, x, 2, 2).relu(), (1, 3, 3), (1, 2, 2))
        return spatial(net.features.conv4, spatial(net.features.conv3, x, 1, 1).relu(), 1, 1).relu()

    def dense(layers, x):
        return layers.fc2(layers.fc1(x.flatten(1)))

    frames, differences = scl(frames), scl(differences)
    middle = frames[:, :, frames.shape[2] // 2].unsqueeze(2)
    look = max_pool3d(spatial(paths.spatial.conv, middle, 1, 1), (1, 3, 3))
    motion = max_pool3d(spatial(paths.temporal.layer.conv, differences, 1, 1), (1, 3, 3))
    branches = [
        max_pool3d(layer(motion).relu(), (2, 1, 1))
        for layer in (paths.temporal_layer.short, paths.temporal_layer.long)
    ]
    both = torch.cat(
        [dense(paths.spatial_dense, look), dense(paths.temporal_dense, torch.cat(branches, 1))], dim=1
    )
    return linear(linear(both, net.head.fc.weight, net.head.fc.bias), net.head.out.weight, net.head.out.bias)


@pytest.mark.parametrize("dt", [1, 3])
def test_it_answers_as_its_layers_in_3d(dt):
    model, clip = small(dt=dt), clip_of()
    later = clip[:, :, [min(t + dt, FRAMES - 1) for t in range(FRAMES)]]
    with torch.no_grad():
        answer = model(clip)
        torch.testing.assert_close(answer, in_3d(model, clip, later - clip), rtol=1e-4, atol=1e-4)
        assert (answer - in_3d(model, clip, clip - clip)).abs().max() > 1e-2  # the differences are felt
        assert (answer[0] - answer[1]).abs().max() > 1e-2


def test_a_still_clip_is_its_frame_whatever_the_distance():
    still = clip_of(1).expand(-1, -1, FRAMES, -1, -1)
    with torch.no_grad():
        torch.testing.assert_close(small(dt=1)(still), small(dt=3)(still))


def test_the_tp_operator_starts_as_nothing_and_learns():
    plain, tp, clip = small(), small(tp=True), clip_of()
    extra = set(tp.state_dict()) - set(plain.state_dict())
    assert [key.split(".")[-2:] for key in extra] == [["recombine", "weight"]]
    tp.load_state_dict({**tp.state_dict(), **plain.state_dict()})
    torch.testing.assert_close(tp(clip), plain(clip), rtol=1e-4, atol=1e-4)
    tp(clip).square().sum().backward()
    assert tp.get_parameter(extra.pop()).grad.count_nonzero() > 128 * 64


def test_the_variant_has_response_norms_and_drops_in_the_temporal_layer():
    def kinds(model):
        layer = model.image_net.head.paths.on_clips.temporal_layer
        norms = [m for m in model.modules() if isinstance(m, torch.nn.LocalResponseNorm)]
        return [(m.size, m.alpha, m.beta, m.k) for m in norms], layer.dropout.p

    assert kinds(small()) == ([], 0.0)
    assert kinds(small(lrn=True)) == ([(5, 5e-4, 0.75, 2.0)] * 2, 0.5)


@pytest.mark.parametrize("wrong", [{"frames": 1}, {"size": 52}, {"dt": 0}])
def test_what_the_pools_leave_nothing_of_is_refused(wrong):
    with torch.device("meta"), pytest.raises(UsageError, match="wanted at least 2, 53 and 1"):
        create_model("fstcn", **wrong)


def test_clips_of_another_length_or_size_are_named():
    model = small().to("meta")
    with pytest.raises(UsageError, match=r"clips of 4 frames and got 6 \(frames=\)"):
        model(torch.zeros(1, 3, 6, SIZE, SIZE, device="meta"))
    with pytest.raises(UsageError, match="frames of another size"):
        model(torch.zeros(1, 3, 4, 2 * SIZE, 2 * SIZE, device="meta"))


# --- fusion by the sparsity concentration index ---


def test_the_index_runs_from_all_alike_to_one_alone():
    assert sparsity_concentration_index(np.full(7, 1 / 7)) == pytest.approx(0)
    assert sparsity_concentration_index(np.eye(5)) == pytest.approx(np.ones(5))
    assert sparsity_concentration_index([0.5, 0.3, 0.2]) == pytest.approx((3 * 0.5 - 1) / 2)
    assert sparsity_concentration_index([5, 3, 2]) == pytest.approx((3 * 0.5 - 1) / 2)  # of sums other than 1
    assert sparsity_concentration_index(torch.tensor([[0.5, 0.3, 0.2]])) == pytest.approx([0.25])
    assert sparsity_concentration_index([1.0]) == 0


def test_fusion_is_the_weighted_mean_of_a_loop():
    rng = np.random.default_rng(0)
    p = softmax(3 * rng.normal(size=(6, 4, 5)))
    for video, answer in zip(p, sci_fusion(p), strict=True):
        weights = [(5 * max(clip) / sum(clip) - 1) / 4 for clip in video]
        wanted = sum(w * clip for w, clip in zip(weights, video, strict=True)) / sum(weights)
        np.testing.assert_allclose(answer, wanted)
        assert answer.sum() == pytest.approx(1)
    np.testing.assert_allclose(sci_fusion(p[:, ::-1]), sci_fusion(p))  # in any order
    np.testing.assert_allclose(sci_fusion(torch.from_numpy(p)), sci_fusion(p))


def test_fusion_leaves_out_what_is_not_there_and_means_what_is_unsure():
    rng = np.random.default_rng(1)
    p = softmax(rng.normal(size=(3, 2, 4)))
    padded = np.concatenate([p, np.full((3, 2, 4), np.nan)], axis=1)
    for fusion in ("mean", "sci"):
        np.testing.assert_allclose(fused(padded, fusion), fused(p, fusion))
        np.testing.assert_allclose(fused(p[:, :1], fusion), p[:, 0])  # one clip is itself
    alike = np.full((2, 3, 4), 0.25)
    np.testing.assert_allclose(fused(alike, "sci"), np.full((2, 4), 0.25))
    np.testing.assert_allclose(fused(np.array([[[1.0], [1.0]]]), "sci"), [[1.0]])


def sure_and_unsure():
    """Of two videos: one view that is sure of class 1, two that are a little for class 0."""
    logits = np.array([[[0, 9, 0], [0.5, 0, 0], [0.5, 0, 0]]] * 2, dtype=np.float32)
    logits[:, 1:, 0] += 3.2
    logits[:, 1:, 2] += 3.2
    return logits


def test_predictions_are_judged_by_their_fusion_and_keep_it(tmp_path):
    logits, names = sure_and_unsure(), ("v0", "v1")
    labels = np.array([1, 1])
    by_mean = Predictions(names, names, labels, ("a", "b", "c"), logits)
    by_sci = Predictions(names, names, labels, ("a", "b", "c"), logits, "sci")
    assert by_mean.scores().argmax(1).tolist() == [0, 0]
    assert by_sci.scores().argmax(1).tolist() == [1, 1]
    assert summary(by_mean)["acc/top1/clip"] == summary(by_sci)["acc/top1/clip"]
    assert [summary(p)["acc/top1/video"] for p in (by_mean, by_sci)] == [0.0, 1.0]
    for stored in (by_mean, by_sci):
        write_predictions(stored, tmp_path / "p.npz")
        again = read_predictions(tmp_path / "p.npz")
        assert again.fusion == stored.fusion
        np.testing.assert_array_equal(again.scores(), stored.scores())


def test_files_of_before_are_means(tmp_path):
    logits = sure_and_unsure()
    np.savez(
        tmp_path / "old.npz",
        videos=["v"],
        groups=["g"],
        labels=[1],
        classes=["a", "b", "c"],
        clip_logits=logits,
    )
    assert read_predictions(tmp_path / "old.npz").fusion == "mean"


def test_evaluation_says_how_it_fuses():
    videos = tuple(Video(path=f"v{i}.avi", label="b", group=f"g{i}") for i in range(2))
    manifest = Manifest(root="/nowhere", classes=("a", "b", "c"), videos=videos)
    views = torch.arange(3, dtype=torch.uint8).view(3, 1, 1, 1, 1)
    answers = torch.from_numpy(sure_and_unsure()[0])

    def judged(**fusion):
        return evaluate(
            torch.nn.Flatten().requires_grad_(False),
            [(views, 1), (views, 1)],
            manifest,
            normalise=lambda batch: answers[batch.flatten().long()],
            device="cpu",
            **fusion,
        )

    assert summary(judged())["acc/top1/video"] == 0.0
    assert summary(judged(fusion="sci"))["acc/top1/video"] == 1.0


def exit_code(*words):
    try:
        main([str(word) for word in words])
    except SystemExit as end:
        return end.code or 0
    return 0


def test_train_and_evaluate_fuse_as_they_are_told(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("TIMELIFT_CACHE", str(tmp_path / "cache"))
    data, run = write_videos(tmp_path / "videos", splits=("train", "test")), tmp_path / "run"
    variant = f"{write_net(tmp_path)} Inflate(frames=3)"
    views = ("--set", "views.fusion=sci", "--set", "views.clips=2")
    words = ("train", data, "--variant", variant, "--output", run, *settings(), "--no-validation", *views)
    assert exit_code(*words) == 0
    assert read_predictions(run / "predictions.npz").fusion == "sci"
    judged = tmp_path / "judged.npz"
    assert exit_code("evaluate", run, data, "--output", judged, "--clips", 2, "--fusion", "sci") == 0
    assert read_predictions(judged).fusion == "sci"
    capsys.readouterr()
    assert exit_code("evaluate", run, data, "--fusion", "median") == 2
    assert "views.fusion" in capsys.readouterr().err
