"""What a training leaves beside its gradient log."""

from resseg.gradient_log.after_training import draw_flow
from resseg.runs import layout


def test_the_flow_is_drawn_where_gradients_are_logged(fake_run, tmp_path):
    every = [{"log": {"gradients": {"every": each}}} for each in (1, 0)]
    logged, silent = (
        fake_run(tmp_path / str(at), config=config) for at, config in enumerate(every)
    )
    (line,) = draw_flow(logged)
    picture = logged / layout.HEATMAP
    assert picture.stat().st_size > 10_000
    assert line == f"gradient flow  {picture}; as a table: resseg inspect {logged}"
    assert draw_flow(silent) == []
    assert not (silent / layout.HEATMAP).exists()
