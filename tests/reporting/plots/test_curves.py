from devias.reporting.plots.curves import curves_figure, read_curves


def test_points_are_read_by_metric_and_gaps_passed_over(tmp_path):
    (tmp_path / "metrics/version_0").mkdir(parents=True)
    (tmp_path / "metrics/version_0/metrics.csv").write_text(
        "epoch,step,loss/total,val/x\n0,10,2.5,\n0,20,nan,0.25\n0,30,inf,\n0,40,broken,0.5\n0,,1,1\n"
    )
    curves = read_curves(tmp_path, ["loss/total", "val/x", "val/none"])
    assert curves == {"loss/total": [(10, 2.5)], "val/x": [(20, 0.25), (40, 0.5)]}


def test_steps_that_were_taken_again_count_once_as_the_latest_attempt_had_them(tmp_path):
    for attempt, rows in ((2, "1,5\n2,6"), (10, "2,7\n3,8"), (9, "2,9")):
        folder = tmp_path / f"metrics/version_{attempt}"
        folder.mkdir(parents=True)
        (folder / "metrics.csv").write_text(f"step,loss/total\n{rows}\n")
    assert read_curves(tmp_path, ["loss/total"]) == {"loss/total": [(1, 5), (2, 7), (3, 8)]}


def test_a_run_without_metrics_has_no_curves(tmp_path):
    assert read_curves(tmp_path, ["loss/total"]) == {}


def test_all_seeds_of_a_row_share_a_color_and_one_name():
    figure = curves_figure({"a": [[(0, 1), (1, 2)], [(0, 2), (1, 3)]], "b": [[(0, 0)]]}, "Loss")
    (axes,) = figure.axes
    colors = [line.get_color() for line in axes.lines]
    assert colors[0] == colors[1] != colors[2]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["a", "b"]


def test_a_curve_of_one_point_is_seen():
    (axes,) = curves_figure({"a": [[(3, 0.5)]], "b": [[(3, 0.5), (4, 0.6)]]}, "H.M.").axes
    assert [line.get_marker() for line in axes.lines] == ["o", "None"]
