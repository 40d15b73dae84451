"""The published figures, and the papers' tables recomputed from them."""

import csv
import itertools

import numpy as np
import pytest

from dreamer.errors import UserError
from scores import atari, csv_rows, tables
from tests.support.scores_tools import TABLE_1, run

FILES = sorted(path.stem for path in csv_rows.PUBLISHED.glob('*.csv')
               if path.stem not in ('sources', 'notes'))


def cell(name, row, column):
  """(computed, printed, digits) of one number."""
  found, = (x[2:] for x in tables.cells(name) if x[:2] == (row, column))
  return found


def by_key(name):
  return {(x.task, x.method, x.seed, x.env_steps): x
          for x in csv_rows.published(name)}


class TestForm:

  @pytest.mark.parametrize('name', FILES)
  def test_files_are_of_the_form(self, name):
    rows = csv_rows.published(name)
    path = csv_rows.PUBLISHED / f'{name}.csv'
    assert csv_rows.text(rows) == path.read_text()
    keys = [(x.task, x.method, x.seed, x.env_steps, x.source) for x in rows]
    assert len(set(keys)) == len(keys) and rows

  def test_size(self):
    assert sum(x.stat().st_size for x in csv_rows.PUBLISHED.iterdir()) <= 4e6

  def test_amounts(self):
    amounts = {name: len(csv_rows.published(name)) for name in FILES}
    assert amounts == {
        'dreamerv1_table_g': 18 + 18 + 20 + 20 + 4,
        'dreamerv1_released_seeds': 20 * 5 * 6,
        'dreamerv1_released_curves': 20 * 50,
        'dreamerv1_figures': 117 + 86 + 240 + 240 + 120,
        'dreamerv1_pixelpoint': 6 * (60 + 11) + 6 * (100 + 19),
        'dreamerv2_pixelpoint': 15 * (30 + 10),
        'dreamerv2_table_k1': 55 * 8 + 1,
        'dreamerv2_released_seeds': 55 * (8 + 4 + 3) * 7,
        'dreamerv2_released_curves': 55 * 200 - 1,
        'dreamerv2_table_1': 6 * 4, 'dreamerv2_ablations': 7 * 4 + 6 * 3,
        'dreamerv2_dmc_vision_curves': 20 * 66,
        'dreamerv2_humanoid_montezuma': (11 + 7) * 3,
        'dreamerv3_released_seeds': 5 * (3238 - 2) - 7,  # two runs are empty
        'dreamerv3_released_curves': 20 * (78 + 171 + 108 + 100 + 90 + 5 + 48)
                                     - 592,
        'dreamerv3_baselines': 2 * (57 + 30 + 16), 'dreamerv3_ed_1': 8}

  def test_every_key_is_used(self):
    rows = list(itertools.chain(*map(csv_rows.published, FILES)))
    assert {x.source for x in rows} == set(csv_rows.sources())
    assert {x.note.split(':')[0] for x in rows} - {''} == set(csv_rows.notes())

  def test_doubtful_cells_carry_a_note(self):
    k1 = by_key('dreamerv2_table_k1')
    for method, score in (('human_gamer', 302.8),
                          ('human_gamer_release', 29.0)):
      row = k1['atari_james_bond', method, 'mean', None]
      assert row.value == score and '29.0' in csv_rows.explain(row.note)
    table_g = csv_rows.published('dreamerv1_table_g')
    assert all('1e9' in csv_rows.explain(x.note) for x in table_g
               if x.method in ('a3c', 'd4pg'))
    row, = (x for x in csv_rows.published('dreamerv2_ablations')
            if x.value == TABLE_1[1])
    assert csv_rows.explain(row.note).startswith('doubtful')
    row, = (x for x in csv_rows.published('dreamerv2_table_1')
            if x.value == TABLE_1[1])
    assert row.env_steps == 199_000_000 and '199M' in csv_rows.explain(row.note)

  def test_stopped_seeds_are_noted(self):
    rows = csv_rows.published('dreamerv1_released_seeds')
    stopped = [x for x in rows if x.carried]
    assert len(stopped) == 13 and {x.env_steps for x in stopped} == {5000000}
    assert stopped[0][:3] == ('dmc_acrobot_swingup', 'dreamer', '1')
    assert csv_rows.explain(stopped[0].note).endswith('(4,005,000)')

  def test_seeds_and_curves_agree(self):
    """Means over seeds are the curves, where no seed had stopped."""
    seeds = {}
    for row in csv_rows.published('dreamerv1_released_seeds'):
      seeds.setdefault((row.task, row.env_steps), []).append(row.value)
    curves = by_key('dreamerv1_released_curves')
    for (task, steps), values in seeds.items():
      if steps < 5000000:
        row = curves[task, 'dreamer', 'mean', steps + 5000]
        assert row.n == len(values) == 5
        assert abs(np.mean(values) - row.value) < 0.011
        assert abs(np.std(values) - row.std) < 0.011
    at_end = [np.mean(x) for (_, step), x in seeds.items() if step == 5000000]
    assert np.mean(at_end) == pytest.approx(805.5, abs=0.05)

  def test_released_atari_seeds_and_curves_agree(self):
    curves = by_key('dreamerv2_released_curves')
    for step in (5, 10, 20, 50):
      means = atari.released('dreamerv2', step * 10 ** 6).mean(0)
      for game, mean in zip(atari.games(), means):
        row = curves[game, 'dreamerv2', 'mean', step * 10 ** 6]
        assert row.n < 8 or abs(row.value - mean) < 0.011, (game, step)

  @pytest.mark.parametrize('content, wanted', [
      ('task,method\n', 'first line has to be task,method,seed'),
      ('', 'first line has to be'),
      ('{head}a,b,0,1,2\n', 'line 2: 5 columns instead of 9'),
      ('{head}a,b,0,1,nan,,,,\n', "line 2: value: 'nan' is no finite number"),
      ('{head}a,b,0,1,1,,,,\na,b,0,x,2,,,,\n', "line 3: env_steps: 'x'"),
      ('{head},b,0,1,2,,,,\n', 'task and method must not be empty')])
  def test_bad_files(self, tmp_path, content, wanted):
    path = tmp_path / 'x.csv'
    path.write_text(content.format(head=','.join(csv_rows.Row._fields) + '\n'))
    with pytest.raises(UserError, match=wanted) as info:
      csv_rows.read(path)
    assert str(path) in str(info.value)

  def test_no_file(self, tmp_path):
    with pytest.raises(UserError, match='cannot read'):
      csv_rows.read(tmp_path / 'none.csv')

  def test_written_and_read(self, tmp_path):
    rows = [csv_rows.Row('a', 'b', '0', 10, 1.5), csv_rows.Row(
        'a,"c"', 'b', 'mean', None, None, 2.0, 3, 's', 'clipped')]
    csv_rows.write(tmp_path / 'x.csv', rows)
    assert csv_rows.read(tmp_path / 'x.csv') == rows
    with open(tmp_path / 'x.csv', newline='') as file:
      assert len(list(csv.reader(file))) == 3


class TestRecomputed:

  @pytest.mark.parametrize('row, column, computed, printed, digits', [
      x for name in ('table_1', 'table_k1') for x in tables.cells(name)])
  def test_every_cell_is_the_printed_one(
      self, row, column, computed, printed, digits):
    assert round(computed, digits) == printed
    assert not tables.wrong(computed, printed, digits)

  def test_table_1_by_hand(self):
    """24 cells, typed from the paper."""
    printed = [
        list(TABLE_1), [2.64, 10.45, 0.43, 0.28],
        [1.29, 8.85, 0.21, 0.21], [1.47, 9.12, 0.17, 0.17],
        [1.09, 7.70, 0.15, 0.15], [0.65, 2.84, 0.12, 0.12]]
    found = [x[2] for x in tables.cells('table_1')]
    assert np.round(np.reshape(found, (6, 4)), 2).tolist() == printed

  @pytest.mark.parametrize('method, mean, printed, amount', [
      ('a3c', 243.70, 243.70, 18), ('d4pg', 786.33, 786.32, 18),
      ('planet', 332.97, 332.97, 20), ('dreamer', 823.39, 823.39, 20)])
  def test_table_g_means(self, method, mean, printed, amount):
    computed, found, digits = cell('table_g', 'mean', method)
    assert (round(computed, 2), found, digits) == (mean, printed, 2)
    rows = [x for x in csv_rows.published('dreamerv1_table_g')
            if x.method == method]
    assert len(rows) == amount + 1 and rows[-1].n == amount

  def test_table_g_on_the_shared_tasks(self):
    rows = by_key('dreamerv1_table_g')
    shared = [key[0] for key in rows if key[1] == 'a3c'
              and key[0] != 'dmc_mean']
    for method, wanted in (('dreamer', 813.77), ('planet', 341.12)):
      scores = [rows[task, method, 'mean', 5000000].value for task in shared]
      assert round(np.mean(scores), 2) == wanted

  def test_wrong_alternatives(self):
    first, second = tables.alternatives().values()
    assert (round(first, 2), round(second, 2)) == (1.79, 42.26)
    assert tables.wrong(first, TABLE_1[0], 2)
    assert tables.wrong(second, TABLE_1[1], 2)

  def test_without_carrying_forward_it_fails(self):
    rows = [x for x in csv_rows.published('dreamerv2_released_seeds')
            if (x.method, x.env_steps) == ('dreamerv2', 199_000_000)]
    means = [np.mean([x.value for x in rows if x.task == task
                      and not x.carried]) for task in atari.games()]
    printed = [atari.column('dreamerv2')[task] for task in atari.games()]
    assert sum(round(a) != b for a, b in zip(means, printed)) > 5

  def test_counts_add_up(self):
    counts = {}
    for row in csv_rows.published('dreamerv2_ablations'):
      if row.source == 'v2_section_3_2':
        counts[row.method] = counts.get(row.method, 0) + row.value
    assert set(counts.values()) == {55} and len(counts) == 6


class TestAggregates:

  def test_by_hand(self):
    """Two games, on which random, human and record are round numbers."""
    tasks = ['atari_freeway', 'atari_boxing']  # 0, 29.6, 38; .1, 12.1, 100
    found = atari.aggregates(np.array([76.0, 6.1]), tasks)
    gamer, record = np.array([76 / 29.6, 0.5]), np.array([2, 6 / 99.9])
    assert found == pytest.approx([
        gamer.mean(), gamer.mean(), record.mean(), (1 + record[1]) / 2])

  def test_games(self):
    games = atari.games()
    assert len(games) == len(set(games)) == 55
    assert not {'atari_defender', 'atari_surround'} & set(games)
    assert atari.released().shape == (8, 55)
    assert atari.released('schedules').shape == (4, 55)
    assert atari.released('no_schedules').shape == (3, 55)


class TestMain:

  def test_prints_every_table(self, capsys):
    run('tables')
    out = capsys.readouterr().out
    assert '24 of 24 recomputed numbers are the printed ones.' in out
    assert '55 of 55 recomputed numbers are the printed ones.' in out
    assert '786.33 (printed 786.32)' in out
    assert 'before averaging the seeds: 1.79' in out
    assert 'as released (29.0): 42.26' in out
    assert '20 of the 440 runs' in out
    for name in ('Appendix G', 'K.1', 'Table 2', 'Section 3.2',
                 'Figures 4, 9, 10, 11, 12'):
      assert name in out

  def test_one_as_markdown(self, capsys):
    run('tables', 'table_1', '--markdown')
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith('| agent | Gamer median |')
    assert lines[2] == f'| DreamerV2 | {" | ".join(map(str, TABLE_1))} |'

  def test_unknown(self):
    with pytest.raises(UserError, match="unknown table 'table_h'; allowed: "):
      run('tables', 'table_h')
