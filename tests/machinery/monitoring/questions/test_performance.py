"""The question whether the model got worse, and the labels that it waits for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl

from slipway.monitoring.questions import performance, skill
from slipway.monitoring.window import Window
from support import sample_windows as samples


def sound(weeks: int = 16, *, task: str = "binary") -> list[pl.DataFrame]:
    """Weeks of a task; a regression predicts 20 ± 5 with an error of 3."""
    frames = [samples.rows(number) for number in range(weeks + 1)]
    if task == "binary":
        return frames
    rng = np.random.default_rng(8)
    for number, frame in enumerate(frames):
        label = rng.normal(20, 5, len(frame))
        frames[number] = frame.with_columns(label=label, prediction=label + rng.normal(0, 3, len(frame)))
    return frames


def shuffled(frame: pl.DataFrame) -> pl.DataFrame:
    """The labels no longer have anything to do with the predictions."""
    return frame.with_columns(pl.col("label").shuffle(seed=3))


def window(frames: list[pl.DataFrame], *, task: str = "binary", delay: int = 0) -> Window:
    return samples.window(frames[0], earlier=frames[1:], task=task, label_delay_days=delay)


def test_sound_model_passes():
    answer = performance.ask(window(sound()))
    assert {check.ok for check in answer.checks} == {True}
    assert answer.sentence.startswith("Performance is as before: the AUC among the rows of a day is 0.7")
    assert [check.name for check in answer.checks] == [
        "labels", "skill", "skill in the newest window", "skill in the newest 2 windows", "skill in the newest 4 windows",
        "loss in the newest 2 windows", "loss in the newest 4 windows",
    ]  # fmt: skip


def test_lost_relation_fails_in_the_first_window():
    frames = sound()
    answer = performance.ask(window([shuffled(frames[0]), *frames[1:]]))
    assert "skill in the newest window" in samples.failed(answer.checks)
    assert answer.sentence.startswith(
        "Performance got worse: In the newest window the AUC among the rows of a day fell by 0."
    )


def test_regression_is_judged_by_its_variance():
    frames = sound(task="regression")
    assert samples.failed(performance.ask(window(frames, task="regression")).checks) == []
    answer = performance.ask(window([shuffled(frames[0]), *frames[1:]], task="regression"))
    assert {"skill", "skill in the newest window"} <= set(samples.failed(answer.checks))
    assert "share of the variance of a day" in answer.sentence


def test_base_rate_alone_is_no_worse_model():
    frames = sound()
    # on one day everything is late, whatever the model predicts for it
    storm = frames[0].with_columns(label=pl.when(pl.int_range(pl.len()) < 100).then(1.0).otherwise("label"))
    assert samples.failed(performance.ask(window([storm, *frames[1:]])).checks) == []


def test_labels_are_waited_for():
    frames = sound()
    broken = [shuffled(frame) for frame in frames[:4]]
    answer = performance.ask(window([*broken, *frames[4:]], delay=28))
    assert samples.failed(answer.checks) == []  # the broken weeks have no labels yet
    assert answer.notes["table"][0]["from"] == "2024-05-27"


def test_first_weeks_are_unsure():
    answer = performance.ask(window(sound(2), delay=28))
    assert [check.ok for check in answer.checks] == [None]
    assert answer.sentence == "Unsure: no window is older than the 28 days after which labels are due."


def test_few_labelled_windows_are_unsure():
    answer = performance.ask(window(sound(3)))
    assert [check.ok for check in answer.checks] == [True, True, None]
    assert "4 labelled windows are too few" in answer.sentence


def test_missing_labels_are_unsure():
    whole = window(sound())
    half = replace(whole, labels=whole.labels.filter(pl.int_range(pl.len()) % 2 == 0))
    answer = performance.ask(half)
    assert [check.ok for check in answer.checks] == [None]
    assert "350 of 700 rows of the window from 2024-06-24 have a label" in answer.sentence


def test_no_labels_at_all_are_unsure():
    whole = window(sound())
    answer = performance.ask(replace(whole, labels=whole.labels.head(0)))
    assert [check.ok for check in answer.checks] == [None]


def test_inverted_labels_are_worse_than_a_guess():
    frames = sound()
    inverted = frames[0].with_columns(label=1 - pl.col("label"))
    answer = performance.ask(window([inverted, *frames[1:]]))
    assert "worse than a guess" in answer.sentence


def test_labels_of_one_class_are_undecided():
    frames = [frame.with_columns(label=pl.lit(0.0)) for frame in sound()]
    answer = performance.ask(window(frames))
    assert samples.failed(answer.checks) == []
    assert None in [check.ok for check in answer.checks]


def test_weeks_without_rows_are_skipped():
    frames = sound()
    windows = performance.labelled_windows(window([frames[0], frames[1].head(0), *frames[2:]]), skill.TASKS["binary"])
    assert [each.start.day for each in windows[:2]] == [24, 10]


def test_wrong_probabilities_raise_the_loss():
    frames = [*(frame.with_columns(pl.col("prediction") / 3) for frame in sound()[:2]), *sound()[2:]]
    answer = performance.ask(window(frames))
    assert samples.failed(answer.checks) == ["loss in the newest 2 windows", "loss in the newest 4 windows"]
    assert "the mean loss rose by 0." in answer.sentence
