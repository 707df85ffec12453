import copy
from dataclasses import replace

import pytest

from mien.evaluation.evaluate import evaluate
from mien.labels import FER2013
from mien.models.onnx_file import read_spec
from mien.reports.card import FEW, MEASURED, model_card, released_card
from mien.reports.metrics_json import to_metrics
from mien.reports.report import NOTE, write_report
from mien.reports.tables import classes_table, views_table


@pytest.fixture
def metrics(evaluation):
    return to_metrics(evaluation)


def test_a_card_describes_the_model(evaluation, metrics):
    card = model_card(evaluation.spec, [metrics], size_bytes=21_300_000)
    assert card.startswith(f"# pixel-reader\n\n> {NOTE}\n")
    assert "file: 21.3 MB" in card
    assert "48×48 pixels, grey; crops framed as in fer2013" in card
    assert "Output fer2013: angry, disgust, fear, happy, sad, surprise, neutral" in card
    assert "Output ferplus (default): neutral, happy" in card
    assert "temperature 1.500" in card
    assert "Trained on: fer2013, fingerprint abc" in card
    assert '"epochs": 3' in card


def test_all_results_of_a_card_come_from_the_metrics(evaluation, metrics):
    card = model_card(evaluation.spec, [metrics], size_bytes=1)
    assert views_table([metrics]) in card
    assert "192 of 200 images" in card
    assert classes_table(metrics["views"]["single"], metrics["labels"]) in card
    classes = metrics["views"]["single"]["classes"].items()
    recalls = {label: scores["recall"] for label, scores in classes if scores["support"] >= FEW}
    weakest = min(recalls, key=recalls.__getitem__)
    assert f"The weakest class is *{weakest}*, with a recall of {100 * recalls[weakest]:.1f} %." in card


def test_a_card_shows_the_test_split_per_class_in_any_order(evaluation, metrics, written, pixel_reader):
    dataset = written([(1, 1, 1, "valid")])
    valid = to_metrics(evaluate(pixel_reader(FER2013), dataset, split="valid"))
    card = model_card(evaluation.spec, [valid, metrics], size_bytes=1)
    assert card.index("| fer2013 PublicTest | single") < card.index("| fer2013 PrivateTest | single")
    assert "### Per class: pixel-reader on fer2013 PrivateTest, single" in card
    assert "### Per class: pixel-reader on fer2013 PublicTest, single" in model_card(
        evaluation.spec, [valid], size_bytes=1
    )


def test_a_card_shows_photographs_per_class_too(evaluation, metrics):
    photographs = copy.deepcopy(metrics)
    photographs["data"] |= {"name": "photos", "detector": "yunet"}
    card = model_card(evaluation.spec, [metrics, photographs], size_bytes=1)
    assert "### Per class: pixel-reader on fer2013 PrivateTest, single" in card
    assert "### Per class: pixel-reader on photos test, head fer2013, single" in card


def test_a_card_states_the_protocol_and_the_training_splits(evaluation, metrics):
    card = model_card(evaluation.spec, [metrics], size_bytes=1)
    assert "Fitted on Training. All decisions were made on PublicTest, temperature included" in card
    assert "temperature included, none on PrivateTest" in card
    assert "once" not in card
    metrics["data"]["fitted_on"] = ["train", "valid"]
    card = model_card(evaluation.spec, [metrics], size_bytes=1)
    assert "Fitted on Training and PublicTest. All decisions were made on PublicTest before it was added" in card


def test_a_card_names_data_excluded_from_the_fit(evaluation):
    left_out = {"name": "fer2013", "fingerprint": "abc", "dropped": "12 leaks", "fold": "2 of 5 left out"}
    spec = replace(evaluation.spec, trained_on=left_out)
    card = model_card(spec, [to_metrics(replace(evaluation, spec=spec))], size_bytes=1)
    assert "Trained on: fer2013, fingerprint abc, dropped 12 leaks, fold 2 of 5 left out" in card
    assert "Fitted on Training, dropped 12 leaks, fold 2 of 5 left out. All decisions" in card


def test_a_card_names_the_splits_of_further_training_data(evaluation):
    spec = replace(
        evaluation.spec, trained_on={"name": "fer2013", "with photos": "(weight 1)", "with own": "(weight 1)"}
    )
    card = model_card(spec, [to_metrics(replace(evaluation, spec=spec))], size_bytes=1)
    assert (
        "Fitted on Training and train of photos and train of own. All decisions were made on PublicTest and valid of "
        "photos and valid of own, temperature included, none on PrivateTest." in card
    )


def test_the_card_of_a_released_model_is_made_from_its_file_and_reports(evaluation, tiny_model, tmp_path):
    folder = tmp_path / "tiny"
    for split in MEASURED:
        write_report(replace(evaluation, split=split), folder / split)
    card = released_card(tiny_model, folder)
    metrics = [to_metrics(replace(evaluation, split=split)) for split in ("test", "valid")]
    assert card == model_card(
        read_spec(tiny_model),
        metrics,
        size_bytes=tiny_model.stat().st_size,
        confusion_plot="tiny/test/confusion_single.png",
        curves_plot="tiny/curves.png",
    )


def test_a_card_claims_no_protocol_for_data_the_model_was_not_trained_on(evaluation, metrics):
    foreign = replace(evaluation.spec, trained_on={}, recipe={}, license="")
    card = model_card(foreign, [metrics], size_bytes=1)
    assert "All decisions" not in card
    assert "Trained on: unknown. The recipe is unknown." in card
    assert "- Weights: unknown\n- Data: terms unknown" in card


DRAWN = {
    "name": "toons-ada-dax",
    "fingerprint": "abc",
    "made": "mien data draw toons --seed 3\nmien data prepare toons toons.npz --hold-out ada,dax --valid finn",
}


def test_the_card_of_a_model_of_cartoons_says_so_plainly(evaluation):
    spec = replace(evaluation.spec, trained_on=DRAWN)
    drawn = replace(evaluation, spec=spec, dataset="toons-ada-dax")
    card = model_card(spec, [to_metrics(drawn), to_metrics(replace(drawn, split="valid"))], size_bytes=1)
    assert "does not work on photographs" in card.split("## Training")[0]
    assert (
        "Trained on: toons-ada-dax, fingerprint abc. Held out of the training, with all their images: the characters "
        "ada, dax (test), finn (valid)." in card
    )
    assert f"```sh\n{DRAWN['made']}\n```" in card
    assert "Fitted on train. All decisions were made on valid, temperature included, none on test." in card
    assert "whole images, framed as they are drawn" in card
    assert "- Data: drawn by mien" in card
    photographic = ("PublicTest", "PrivateTest", "ICML", "crops framed", "the crop", "photos, video", "annotators saw")
    assert not any(word in card for word in photographic)
    assert "Article 5(1)(f)" in card


def test_the_card_of_a_model_of_photographs_says_nothing_of_cartoons(evaluation, metrics):
    card = model_card(evaluation.spec, [metrics], size_bytes=1)
    assert "cartoon" not in card
    assert "draws" not in card


def test_a_card_names_uses_limits_and_licences(evaluation, metrics):
    card = model_card(evaluation.spec, [metrics], size_bytes=1)
    assert "Article 5(1)(f)" in card
    assert "An expression is not an emotion" in card
    assert "grey images of 48×48 pixels" in card
    assert "has not been measured" in card
    assert "- Weights: Apache-2.0\n- Data: FER2013 was published for the ICML 2013 challenge" in card


def test_a_card_names_the_initial_weights(evaluation, metrics):
    origin = "net.dat (its author, CC0-1.0)"
    spec = replace(evaluation.spec, trained_on=evaluation.spec.trained_on | {"init": origin})
    licence = model_card(spec, [metrics], size_bytes=1).split("## Licence")[1]
    assert f"Initial weights: {origin}; their terms and" in licence
    assert "Initial weights" not in model_card(evaluation.spec, [metrics], size_bytes=1)


def test_a_card_links_the_confusion_matrix_if_there_is_one(evaluation, metrics):
    assert "![" not in model_card(evaluation.spec, [metrics], size_bytes=1)
    card = model_card(evaluation.spec, [metrics], size_bytes=1, confusion_plot="pixel-reader.png")
    assert "![Confusion matrix, single](pixel-reader.png)" in card


def test_the_card_of_a_model_without_metrics_says_so(evaluation):
    card = model_card(evaluation.spec, [], size_bytes=1)
    assert "Not evaluated yet" in card
