import csv
import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mien.cli import main
from mien.data.audit import (
    FOLD_SEED,
    KINDS,
    Audit,
    audit,
    conflicts,
    drop_leaks,
    duplicate_kinds,
    folds,
    group_sizes,
    leaked,
    read_audit,
    save_audit,
    select_training,
)
from mien.data.dataset import Dataset, FoundFaces
from mien.data.near import Pairs, near_pairs
from mien.data.prepared import prepare
from mien.data.readers import read_dataset
from mien.data.synthetic import draw_faces
from mien.errors import ConfigError, DatasetError, OutputError
from mien.reports.audit import findings, write_audit
from mien.reports.audit_json import audit_figures
from mien.reports.sheets import example_sheet
from mien.structures import ImageArray

DOCS = Path(__file__).parents[2] / "docs"
TRAIN, VALID, TEST = 0, 1, 2
N = 60  # of different photos; the planted copies come after them


def photos(n: int) -> Dataset:
    """Return drawn faces, each with its own random pattern, since drawn faces alone are near duplicates."""
    faces = draw_faces(n, seed=0)
    pattern = np.random.default_rng(0).normal(0, 160, (n, 48, 48)).astype(np.float32)
    patterned = faces.images[..., 0] * 0.6 + 50 + np.stack([cv2.GaussianBlur(p, (0, 0), 2) for p in pattern])
    return replace(faces, images=patterned.clip(0, 255).astype(np.uint8)[..., None], splits=np.zeros(n, np.int8))


def cropped(picture: ImageArray, x: float, y: float, side: float) -> ImageArray:
    """Return a square of an image, enlarged to its size."""
    zoom = 48 / side
    place = np.array([[zoom, 0, -x * zoom], [0, zoom, -y * zoom]])
    return cv2.warpAffine(picture, place, (48, 48), borderMode=cv2.BORDER_REPLICATE)[..., None]


def mirrored(picture: ImageArray) -> ImageArray:
    return picture[:, ::-1]


def compressed(picture: ImageArray) -> ImageArray:
    return cv2.imdecode(cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 40])[1], cv2.IMREAD_GRAYSCALE)[
        ..., None
    ]


def darker(picture: ImageArray) -> ImageArray:
    return np.asarray(picture * 0.6 + 10, np.uint8)


def plant(dataset: Dataset, copies: list[tuple[ImageArray, int, int]]) -> Dataset:
    """Append images, each with its class and split."""
    pictures, targets, splits = zip(*copies, strict=True)
    return replace(
        dataset,
        images=np.concatenate([dataset.images, np.stack(pictures)]),
        targets=np.concatenate([dataset.targets, targets]).astype(np.int64),
        splits=np.concatenate([dataset.splits, splits]).astype(np.int8),
    )


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    originals = photos(N)
    p, t = originals.images, originals.targets
    shifted = cropped(p[7], 3, 1, 44)
    return plant(
        originals,
        [
            (p[3], t[3], TEST),
            (mirrored(p[5]), t[5], TRAIN),
            (shifted, t[7], VALID),
            (cropped(shifted, 0, 3, 44), t[7], TRAIN),
            (compressed(p[9]), (t[9] + 1) % 7, TRAIN),
            (darker(p[11]), t[11], TRAIN),
            (mirrored(compressed(cropped(p[13], 2, 4, 42))), t[13], TEST),
            (np.zeros((48, 48, 1), np.uint8), 0, TRAIN),
            (np.zeros((48, 48, 1), np.uint8), 1, TRAIN),
        ],
    )


@pytest.fixture(scope="module")
def audited(dataset: Dataset) -> Audit:
    return audit(dataset)


def small_audit(clusters: list[int], targets: list[int], splits: list[int]) -> Audit:
    """Return an audit with given clusters."""
    none, n = np.empty(0, np.int64), len(clusters)
    return Audit(
        dataset="small",
        fingerprint="0" * 64,
        labels=("calm", "wild"),
        targets=np.array(targets, np.int64),
        splits=np.array(splits, np.int8),
        threshold=0.9,
        exact=np.arange(n),
        clusters=np.array(clusters, np.int64),
        pairs=Pairs(none, none, none.astype(np.float32), none.astype(np.bool_)),
        blank=np.zeros(n, np.bool_),
        not_a_face=np.zeros(n, np.bool_),
        unclear=np.zeros(n, np.bool_),
    )


def test_planted_copies_are_found_and_no_others(audited: Audit) -> None:
    clusters = {
        tuple(np.flatnonzero(audited.clusters == c)) for c in audited.clusters[group_sizes(audited.clusters) > 1]
    }
    assert clusters == {
        (3, N), (5, N + 1), (7, N + 2, N + 3), (9, N + 4), (11, N + 5), (13, N + 6), (N + 7, N + 8)
    }  # fmt: skip


def test_the_first_image_identifies_a_cluster(audited: Audit) -> None:
    assert audited.clusters[N + 3] == 7
    assert (audited.clusters <= np.arange(len(audited))).all()
    assert (audited.clusters[audited.clusters] == audited.clusters).all()


def test_exact_duplicates_are_distinguished_from_near_ones(audited: Audit) -> None:
    kind = [KINDS[k] for k in duplicate_kinds(audited)]
    assert [kind[i] for i in (0, 3, N, 5, 7, N + 3, N + 7)] == [
        "single",
        "exact",
        "exact",
        "near",
        "near",
        "near",
        "exact",
    ]
    assert audited.exact[N] == 3
    assert audited.exact[N + 1] == N + 1


def test_mirrored_pairs_are_marked(audited: Audit) -> None:
    pairs = audited.pairs
    found = {(int(a), int(b)): bool(m) for a, b, m in zip(pairs.first, pairs.second, pairs.mirrored, strict=True)}
    assert found[5, N + 1]
    assert found[13, N + 6]
    assert not found[11, N + 5]


def test_conflicting_labels_are_found(audited: Audit) -> None:
    assert np.flatnonzero(conflicts(audited, audited.clusters)).tolist() == [9, N + 4, N + 7, N + 8]
    assert np.flatnonzero(conflicts(audited, audited.exact)).tolist() == [N + 7, N + 8]


def test_blank_images_are_flagged(audited: Audit) -> None:
    assert np.flatnonzero(audited.blank).tolist() == [N + 7, N + 8]


def test_leaks_are_found_per_split(audited: Audit) -> None:
    assert np.flatnonzero(leaked(audited, "test")).tolist() == [N, N + 6]
    assert np.flatnonzero(leaked(audited, "test", exact=True)).tolist() == [N]
    assert np.flatnonzero(leaked(audited, "valid")).tolist() == [N + 2]
    assert not leaked(audited, "test", ("valid",)).any()


def test_dropping_leaks_keeps_valid_and_test(dataset: Dataset, audited: Audit) -> None:
    clean = drop_leaks(dataset, audited)
    assert len(clean) == len(dataset) - 4  # 3, 7, 13 and the crop of a crop
    assert clean.counts()[1:].tolist() == dataset.counts()[1:].tolist()
    assert not leaked(audit(clean), "train", ("valid", "test")).any()


def test_all_of_train_is_selected_by_default(audited: Audit) -> None:
    selection = select_training(audited)
    assert selection.rows.tolist() == (audited.splits == TRAIN).tolist()
    assert (selection.dropped, selection.fold, selection.facts) == (None, "", {})


def test_a_selection_without_leaks_equals_train_after_dropping_them(dataset: Dataset, audited: Audit) -> None:
    selection = select_training(audited, without_leaks=True)
    assert dataset.select(selection.rows).fingerprint == drop_leaks(dataset, audited).split("train").fingerprint
    assert (selection.dropped, selection.facts) == (4, {"dropped": "4 leaks"})


def test_the_folds_cover_train_and_divide_no_cluster(audited: Audit) -> None:
    selections = [select_training(audited, n_folds=3, fold=fold) for fold in range(3)]
    train = audited.splits == TRAIN
    left_out = [train & ~selection.rows for selection in selections]
    assert (np.sum(left_out, axis=0) == train).all()
    for fold, mask in enumerate(left_out):
        assert (mask == (folds(audited, 3, seed=FOLD_SEED, split="train") == fold)).all()
        assert not set(audited.clusters[mask]) & set(audited.clusters[selections[fold].rows])
    assert selections[2].facts == {"fold": "2 of 3 left out"}


def test_leaks_and_a_fold_are_left_out_together(audited: Audit) -> None:
    both = select_training(audited, without_leaks=True, n_folds=2, fold=1)
    fold, leaks = select_training(audited, n_folds=2, fold=1), select_training(audited, without_leaks=True)
    assert (both.rows == (fold.rows & leaks.rows)).all()
    assert both.dropped == fold.rows.sum() - both.rows.sum()
    assert both.facts.keys() == {"dropped", "fold"}


@pytest.mark.parametrize(
    ("n_folds", "fold", "expected"),
    [
        (5, None, "go together"),
        (None, 0, "go together"),
        (5, 5, "no fold 5 of 5; choose 0 to 4"),
        (5, -1, "no fold -1"),
        (1, 0, "choose 2 to 127"),
    ],
)
def test_an_impossible_fold_is_refused(audited: Audit, n_folds: int, fold: int, expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        select_training(audited, n_folds=n_folds, fold=fold)


@pytest.mark.parametrize("n", [0, 1, 2])
def test_a_dataset_of_up_to_two_images_is_audited(n: int) -> None:
    few = photos(2).select(np.arange(n))
    audited = audit(few)
    assert audited.clusters.tolist() == list(range(n))
    assert example_sheet(audited, few).shape[2] == 3
    assert "No cluster" in findings(audit_figures(audited, has_votes=False))


def test_colour_images_of_another_size_are_compared_too() -> None:
    originals = photos(20)
    large = np.stack([np.repeat(cv2.resize(image, (96, 96))[..., None], 3, 2) for image in originals.images])
    colour = replace(originals, images=large)
    copied = plant(colour, [(cv2.GaussianBlur(mirrored(large[4]), (0, 0), 1.0), 0, TEST)])
    assert audit(copied).clusters[20] == 4


def test_pairs_do_not_depend_on_the_order_of_the_images(dataset: Dataset, audited: Audit) -> None:
    kept = np.flatnonzero(audited.exact == np.arange(len(dataset)))[:-1]
    backwards = near_pairs(dataset.images[kept[::-1]], threshold=0.9)
    known = {frozenset((int(a), int(b))) for a, b in zip(audited.pairs.first, audited.pairs.second, strict=True)}
    back = {frozenset((int(kept[::-1][a]), int(kept[::-1][b]))) for a, b in zip(*backwards[:2], strict=True)}
    assert back == known


def test_progress_ends_at_the_end(dataset: Dataset) -> None:
    calls: list[tuple[int, int]] = []
    audit(dataset, progress=lambda done, total: calls.append((done, total)))
    assert calls[-1] == (1000, 1000)
    assert [done for done, _ in calls] == sorted(done for done, _ in calls)


def test_a_threshold_out_of_range_is_refused(dataset: Dataset) -> None:
    with pytest.raises(ConfigError, match="out of range"):
        audit(dataset, threshold=1.5)


def test_images_that_raters_call_no_face_are_flagged(dataset: Dataset) -> None:
    votes = np.zeros((len(dataset), 10), np.float32)
    votes[:, 0], votes[:, 9] = 6, 4
    votes[1] = [4, 0, 0, 0, 0, 0, 0, 0, 0, 6]
    votes[2] = [3, 0, 0, 0, 0, 0, 0, 0, 7, 0]
    votes[4] = 0
    audited = audit(replace(dataset, votes=votes))
    assert np.flatnonzero(audited.not_a_face).tolist() == [1]
    assert np.flatnonzero(audited.unclear).tolist() == [2]


def test_an_audit_is_read_back(dataset: Dataset, audited: Audit, tmp_path: Path) -> None:
    save_audit(audited, tmp_path / "audit.npz")
    read = read_audit(tmp_path, dataset)
    for name in ("exact", "clusters", "blank", "not_a_face", "unclear", "targets", "splits"):
        np.testing.assert_array_equal(getattr(read, name), getattr(audited, name))
    for one, other in zip(read.pairs, audited.pairs, strict=True):
        np.testing.assert_array_equal(one, other)
    assert (read.dataset, read.fingerprint, read.threshold) == ("drawn", dataset.fingerprint, audited.threshold)


def test_an_audit_of_another_dataset_is_refused(dataset: Dataset, audited: Audit, tmp_path: Path) -> None:
    save_audit(audited, tmp_path / "audit.npz")
    other = replace(dataset, targets=dataset.targets[::-1].copy())
    with pytest.raises(DatasetError, match=f"fingerprint {dataset.fingerprint[:12]}.* audit the same dataset"):
        read_audit(tmp_path / "audit.npz", other)
    with pytest.raises(DatasetError, match="audit the same dataset"):
        drop_leaks(other, audited)
    with pytest.raises(DatasetError, match="audit the same dataset"):
        write_audit(audited, other, tmp_path)
    crops = replace(other, found=FoundFaces(detector="yunet", n_pictures=len(other)))
    with pytest.raises(
        DatasetError, match=rf"FILE\.npz --detector yunet --size {other.images.shape[1]}; mien data audit"
    ):
        drop_leaks(crops, audited)


@pytest.mark.parametrize("content", [None, b"", b"no archive", b"PK\x05\x06" + bytes(18)])
def test_a_file_that_is_not_an_audit_is_refused(dataset: Dataset, content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "audit.npz"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DatasetError, match=r"is not an audit .* mien data audit"):
        read_audit(path, dataset)


def test_the_report_holds_the_figures(dataset: Dataset, audited: Audit, tmp_path: Path) -> None:
    report = write_audit(audited, dataset, tmp_path / "deep" / "audit")
    found = json.loads((report.parent / "audit.json").read_text(encoding="utf-8"))
    assert found["exact"] == {
        "groups": 2, "pictures": 4, "spare": 2, "largest": 2, "conflicting_groups": 1, "conflicting_pictures": 2
    }  # fmt: skip
    assert found["clusters"] == {
        "groups": 7, "pictures": 15, "spare": 8, "largest": 3, "conflicting_groups": 2, "conflicting_pictures": 4
    }  # fmt: skip
    assert found["splits"]["test"]["same_photo"] == {"train": 2, "valid": 0}
    assert found["splits"]["test"]["same_pixels"] == {"train": 1, "valid": 0}
    assert found["splits"]["train"]["same_photo"] == {"valid": 2, "test": 2}
    assert found["splits"]["train"]["classes"] == audit_figures(audited, has_votes=False)["splits"]["train"]["classes"]
    assert findings(found) in report.read_text(encoding="utf-8")
    assert cv2.imread(str(report.parent / "examples.png")) is not None


def test_the_index_has_a_row_per_image(dataset: Dataset, audited: Audit, tmp_path: Path) -> None:
    write_audit(audited, dataset, tmp_path)
    with (tmp_path / "audit.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(dataset)
    assert rows[N] == {
        "picture": str(N), "split": "test", "label": dataset.labels.labels[dataset.targets[3]], "cluster": "3",
        "first of the same pixels": "3", "kind": "exact", "flags": "",
    }  # fmt: skip
    assert rows[N + 7]["flags"] == "blank"


def test_a_folder_that_cannot_be_made_is_one_clear_error(dataset: Dataset, audited: Audit, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot make folder"):
        write_audit(audited, dataset, tmp_path / "file")


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(0, 12), min_size=1, max_size=60), st.integers(2, 5), st.integers(0, 99))
def test_folds_never_divide_a_cluster(photo: list[int], n: int, seed: int) -> None:
    clusters = [photo.index(p) for p in photo]
    audited = small_audit(clusters, [i % 2 for i in range(len(photo))], [i % 3 for i in range(len(photo))])
    parted = folds(audited, n, seed=seed)
    assert ((parted >= 0) & (parted < n)).all()
    assert (parted == parted[audited.clusters]).all()
    assert np.array_equal(parted, folds(audited, n, seed=seed))
    train = folds(audited, n, seed=seed, split="train")
    assert ((train == -1) == (audited.splits != TRAIN)).all()


def test_folds_are_stratified_by_class() -> None:
    targets = np.array([0] * 50 + [1] * 450)
    clusters = np.arange(500)
    clusters[100:140] = 100  # a large cluster must not fill a fold
    parted = folds(small_audit(clusters.tolist(), targets.tolist(), [0] * 500), 5, seed=0)
    for target, expected in ((0, 10), (1, 90)):
        assert np.abs(np.bincount(parted[targets == target], minlength=5) - expected).max() <= 1


def test_another_seed_gives_other_folds(audited: Audit) -> None:
    assert not np.array_equal(folds(audited, 5, seed=0), folds(audited, 5, seed=1))


@pytest.mark.parametrize("n", [0, 1, 128])
def test_an_impossible_number_of_folds_is_refused(audited: Audit, n: int) -> None:
    with pytest.raises(ConfigError, match="folds"):
        folds(audited, n, seed=0)


@pytest.fixture(scope="module")
def fer(fer2013_path: Path) -> Dataset:
    return read_dataset(fer2013_path)


def test_the_figures_of_the_guide_hold_for_fer2013(fer: Dataset) -> None:
    known = json.loads((DOCS / "reports" / "fer2013-audit.json").read_text(encoding="utf-8"))
    assert len(np.unique(fer.images.reshape(len(fer), -1), axis=0)) == len(fer) - known["exact"]["spare"]
    assert fer.fingerprint == known["fingerprint"]


def test_near_duplicates_of_fer2013_are_as_many_as_before(fer: Dataset) -> None:
    few = audit(fer.select(np.arange(3000)))
    pairs = few.pairs
    assert (pairs.first.size, pairs.mirrored.sum()) == (88, 1)  # no score is closer to the threshold than 0.002
    assert pairs.scores.mean() == pytest.approx(0.9607, abs=0.0003)
    assert np.bincount(group_sizes(few.clusters)).tolist() == [0, 2810, 2 * 77, 3 * 8, 4 * 3]


def test_the_command_writes_a_report_and_prints_json(
    dataset: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prepare(dataset, tmp_path / "photos.npz")
    with pytest.raises(SystemExit) as ended:
        main(["data", "audit", str(tmp_path / "photos.npz"), "--out", str(tmp_path / "found"), "--json"])
    assert not ended.value.code
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads((tmp_path / "found" / "audit.json").read_text(encoding="utf-8"))
    assert len(read_audit(tmp_path / "found", dataset)) == len(dataset)


@pytest.mark.parametrize("arguments", [["nowhere"], ["photos.npz", "--threshold", "2"]])
def test_bad_input_is_one_line_and_exit_code_2(
    arguments: list[str],
    dataset: Dataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    prepare(dataset, tmp_path / "photos.npz")
    with pytest.raises(SystemExit) as ended:
        main(["data", "audit", *arguments])
    assert ended.value.code == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1
    assert not (tmp_path / "reports").exists()
