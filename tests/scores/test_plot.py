"""Figures: what is in them, and where it comes from."""

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from dreamer.errors import UserError
from dreamer.files import ROOT
from scores import (
  __main__,
  atari,
  binning,
  csv_rows,
  drawing,
  plot,
  references,
  series,
)
from tests.support.scores_tools import (
  TABLE_1,
  TABLE_G,
  TASK,
  make_run,
  write_run,
)


def group(values=(700.0, 800.0, 900.0), task=TASK, until=1_000_000, **keys):
  return [make_run(task, seed, value, until, **keys)
          for seed, value in enumerate(values)]


def draw(kind, found=(), to=None, method=None):
  return plot.draw(kind, list(found), to and references.load(to, method))


def shown(figure):
  return [axes for axes in figure.axes if axes.get_visible()]


def labels(figure):
  return [text.get_text() for text in figure.legends[0].get_texts()]


class TestSeries:

  def test_ours(self):
    curve = series.ours(group(), binning.RULES['table_g'], 'x')
    assert curve.steps.tolist() == list(range(100_000, 1_000_001, 100_000))
    assert np.allclose(curve.mean, 800) and curve.seeds == 3
    assert np.allclose(curve.std, np.std([700, 800, 900]))

  def test_short_runs_keep_their_steps(self):
    curve = series.ours(group(until=40_000), binning.RULES['table_g'], 'x')
    assert curve.steps.tolist() == [5000, 15_000, 25_000, 35_000]

  def test_nothing(self):
    run = make_run()._replace(evaluations=[])
    assert series.ours([run], binning.RULES['table_g'], 'x') is None

  def test_of_a_reference(self):
    curve = series.of_reference(references.load('dreamerv1/released'), TASK)
    assert len(curve.steps) == 50 and curve.seeds == 5
    row = csv_rows.published('dreamerv1_released_curves')[0]
    assert (row.env_steps, row.task) == (5000, 'dmc_acrobot_swingup')
    # Table G has no curve of its own: the rerun's, under its own name.
    assert series.of_reference(
        references.load('dreamerv1/table_g'), TASK).label == 'TF2 rerun'
    assert series.of_reference(
        references.load('dreamerv2/released', 'schedules'),
        'atari_pong').steps.tolist()[-1] == 199_000_000

  def test_level(self):
    reference = references.load('dreamerv1/table_g')
    assert series.level(reference, TASK) == ('dreamer at 5M', TABLE_G[TASK])
    assert series.level(references.load('dreamerv1/released'), TASK) is None

  def test_aggregate_curve_ends_at_table_1(self):
    """At 199M only seeds that stopped make a difference."""
    reference = references.load('dreamerv2/released')
    curves = {task: series.of_reference(reference, task)
              for task in atari.games()}
    metrics = series.normalizers(list(curves))
    assert list(metrics) == list(atari.METRICS.values())
    for function, printed in zip(metrics.values(), TABLE_1):
      steps, values = series.aggregate(curves, function)
      assert steps[-1] == 199_000_000 or steps[-1] == 200_000_000
      value = values[steps == 199_000_000].item()
      assert value == pytest.approx(printed, rel=0.03)

  def test_aggregate_of_common_steps(self):
    a = series.Curve('a', np.array([1., 2, 3]), np.array([1., 2, 3]), None, 1)
    b = series.Curve('b', np.array([2., 3, 4]), np.array([5., 6, 7]), None, 1)
    steps, values = series.aggregate(
        {'x': a, 'y': b}, lambda x: x.mean(-1))
    assert steps.tolist() == [2, 3] and values.tolist() == [3.5, 4.5]
    c = series.Curve('c', np.array([9.]), np.array([1.]), None, 1)
    assert len(series.aggregate({'x': a, 'y': c}, lambda x: x.mean(-1))[0]) == 0

  def test_no_common_scale(self):
    with pytest.raises(UserError, match='the tasks share no scale'):
      series.normalizers([TASK, 'atari_pong'])

  @pytest.mark.parametrize('steps, text', [
      (0, '0'), (500, '500'), (2000, '2k'), (1.5e6, '1.5M'), (1e10, '10G')])
  def test_amount(self, steps, text):
    assert series.amount(steps) == text


class TestFigures:

  def test_curves(self):
    found = group() + group((400.0,), 'dmc_cup_catch')
    figure = draw('curves', found, 'dreamerv1/released')
    panels = shown(figure)
    assert [x.get_title() for x in panels] == ['dmc_cup_catch', TASK]
    assert labels(figure) == ['dreamer', 'ours, dreamerv1']
    ours, = (x for x in panels[1].lines if x.get_color() == drawing.OURS)
    assert np.allclose(ours.get_ydata(), 800)
    theirs, = (x for x in panels[1].lines if x.get_color() == drawing.COLORS[0])
    assert len(theirs.get_xdata()) == 50

  def test_a_table_is_a_level(self):
    panel, = shown(draw('curves', group(), 'dreamerv1/table_g'))
    levels = [x for x in panel.lines if set(x.get_ydata()) == {TABLE_G[TASK]}]
    assert len(levels) == 1

  def test_a_short_run_is_not_squeezed(self):
    panel, = shown(draw('curves', group(
        (90.0,), until=40_000), 'dreamerv1/released'))
    assert panel.get_xlim() == (0, 60_000)

  def test_without_reference(self):
    panel, = shown(draw('curves', group()))
    assert len(panel.lines) == 1

  def test_bars_of_a_table(self):
    found = group((900.0, 950.0), until=5_000_000)
    panel, = shown(draw('bars', found, 'dreamerv1/table_g'))
    heights = {x.get_label(): x.patches[0].get_height()
               for x in panel.containers if hasattr(x, 'patches')}
    assert heights == {
        'a3c': 311.0, 'd4pg': 968.3, 'planet': 944.7, 'dreamer': TABLE_G[TASK],
        'ours, dreamerv1': 925.0}

  def test_bars_of_other_scales(self):
    figure = draw('bars', to='dreamerv1/fig9')
    assert len(shown(figure)) == 16
    assert labels(figure)[-1] == 'dreamer' and 'rainbow' in labels(figure)

  def test_bars_need_a_reference(self):
    with pytest.raises(UserError, match='name a reference'):
      draw('bars', group())

  def test_aggregate(self):
    found = group() + group((400.0, 500.0), 'dmc_cup_catch')
    figure = draw('aggregate', found, 'dreamerv1/released')
    mean, median = shown(figure)
    assert mean.get_title() == 'Mean return'
    ours, = (x for x in mean.lines if x.get_color() == drawing.OURS)
    assert np.allclose(ours.get_ydata(), (800 + 450) / 2)
    assert labels(figure) == ['dreamer, 2 tasks', 'ours, 2 tasks']

  @pytest.mark.parametrize('name, variants', [
      ('fig10', ['dreamer', 'no_value', 'planet']),
      ('fig11', ['reconstruction', 'contrastive', 'reward_only']),
      ('fig12', ['repeat_1', 'repeat_2', 'repeat_4'])])
  def test_ablations(self, name, variants):
    found = [run._replace(presets=['no_value']) for run in group()]
    figure = draw('ablations', found, f'dreamerv1/{name}')
    assert len(shown(figure)) == 1
    assert set(labels(figure)) == {*variants, 'ours: no_value'}

  def test_ablations_of_two_variants(self):
    found = group() + [run._replace(seed=9, presets=['planet'], config='x')
                       for run in group((5.0,))]
    names = labels(draw('ablations', found, 'dreamerv1/fig10'))
    assert {'ours: paper', 'ours: planet'} <= set(names)

  def test_ablations_need_a_figure(self):
    for to in (None, 'dreamerv1/table_g'):
      with pytest.raises(UserError, match='choose a figure'):
        draw('ablations', group(), to)

  def test_horizons(self):
    figure = draw('horizons')
    panels = {x.get_title(): x for x in shown(figure)}
    assert len(panels) == 4 and labels(figure) == [
        'dreamer', 'no_value', 'planet']
    line = panels['dmc_cartpole_swingup'].lines[0]
    assert line.get_xdata()[0] == 2 and line.get_ydata()[0] == 75.57


class TestMain:

  @pytest.mark.parametrize('suffix, start', [
      ('png', b'\x89PNG'), ('svg', b'<?xml'), ('pdf', b'%PDF')])
  def test_writes(self, tmp_path, capsys, suffix, start):
    logdir = write_run(tmp_path / 'a', [
        (step, [5.0]) for step in range(5000, 100_001, 10_000)])
    out = tmp_path / f'x.{suffix}'
    __main__.main(['plot', 'curves', str(logdir), '--to',
                   'dreamerv1/released', '--out', str(out)])
    assert out.read_bytes().startswith(start)
    assert capsys.readouterr().out == f'{out}\n'
    if suffix == 'png':
      with Image.open(out) as image:
        assert image.size[0] > 400

  @pytest.mark.parametrize('argv, wanted', [
      (['curves', '--out', 'x.gif', '--to', 'dreamerv1/fig9'], 'end with .png'),
      (['curves', '--out', 'x.png'], 'nothing to draw'),
      (['pie', '--out', 'x.png'], 'pie'),
      (['horizons', '--out', 'x.png', '--to', 'dreamerv1/fig9'],
       'draws Figure 4 alone'),
      (['curves', '--to', 'dreamerv1/fig9'], '--out')])
  def test_bad(self, argv, wanted):
    with pytest.raises(UserError, match=wanted):
      __main__.main(['plot', *argv])

  def test_task_that_the_reference_lacks(self):
    with pytest.raises(UserError, match='no score of dreamer'):
      draw('curves', group(task='dmc_humanoid_walk'), 'dreamerv1/released')

  def test_no_global_state(self, tmp_path):
    code = ('import sys; from scores import __main__ as m; '
            f'm.main(["plot", "horizons", "--out", "{tmp_path}/x.png"]); '
            'assert not {"matplotlib.pyplot", "tensorflow"} & set(sys.modules)')
    subprocess.run([sys.executable, '-c', code], cwd=ROOT, check=True)
