"""What may stand beside what: one rule for all commands that read runs."""

import pytest

from dreamer.errors import UserError
from scores import comparable, omissions, plot, reached, references, runs
from tests.support.scores_tools import (
    TASK,
    make_run,
    run,
    write_lines,
    write_run,
    write_runs,
)

GAME = 'atari_pong'
KINDS = ('curves', 'bars', 'aggregate')


def steps(until):
  return [(step, [5.0]) for step in range(5000, until + 1, 10_000)]


@pytest.fixture
def two_agents(tmp_path):
  return [write_run(tmp_path / agent, steps(20_000), agent=agent)
          for agent in ('dreamerv1', 'dreamerv2')]


@pytest.fixture
def two_experiments(tmp_path):
  return [write_run(tmp_path / f'h{horizon}', steps(20_000), horizon=horizon)
          for horizon in (9, 10)]


@pytest.fixture
def another_action_set(tmp_path):
  return [write_run(
      tmp_path / 'pong', [(x * 10 ** 6, [5.0]) for x in range(1, 7)],
      agent='dreamerv2', presets=['atari'], task=GAME,
      **{'atari.actions': 'minimal'})]


def commands(logdirs, out, to):
  """Every command that shows runs beside each other."""
  to = ['--to', to] if to else []
  page = ['report', *logdirs, *to, '--out', f'{out}/x.html']
  plots = [['plot', kind, *logdirs, *to, '--out', f'{out}/x.png']
           for kind in KINDS]
  return [page, *plots, *([['compare', *logdirs, *to]] if to else [])]


def refusals(logdirs, out, capsys, to):
  """What the commands say; none prints or writes anything before."""
  found = set()
  for argv in commands(logdirs, out, to):
    with pytest.raises(UserError) as info:
      run(*argv)
    assert '\n' not in str(info.value)
    assert capsys.readouterr().out == '' and not list(out.iterdir()), argv
    found.add(str(info.value))
  return found


@pytest.mark.parametrize('case, wanted', [
    ('two_agents', 'runs of dreamerv1 and dreamerv2; compare one agent'),
    ('two_experiments', 'other settings than')])
@pytest.mark.parametrize('to', [None, 'dreamerv1/released'])
def test_all_refuse_alike(case, wanted, to, request, tmp_path, capsys):
  logdirs = request.getfixturevalue(case)
  out = tmp_path / 'out'
  out.mkdir()
  text, = refusals(logdirs, out, capsys, to)
  assert wanted in text


def test_another_way_of_measuring(another_action_set, tmp_path, capsys):
  out = tmp_path / 'out'
  out.mkdir()
  text, = refusals(another_action_set, out, capsys, 'dreamerv2/table_k1')
  assert 'actions is minimal here, full there' in text
  assert '--allow actions' in text
  for argv in commands(another_action_set, out, 'dreamerv2/released'):
    if 'bars' not in argv:
      run(*argv, '--allow', 'actions')
  shown = capsys.readouterr()
  assert 'actions is minimal here, full there' in shown.out  # of compare
  assert shown.err.count('actions is minimal here') == 2  # of two plots


def test_ablations_refuse_it_too(tmp_path):
  found = [make_run('dmc_walker_walk', time_limit=500)]
  reference = references.load('dreamerv1/fig10')
  with pytest.raises(UserError, match='time_limit is 500 here'):
    plot.draw('ablations', found, reference)
  with pytest.raises(UserError, match='compare one agent'):
    plot.draw('ablations', [*found, make_run(method='dreamerv2')], reference)


@pytest.mark.parametrize('command', ['compare', 'report', 'plot'])
def test_keys_that_are_no_protocol(command, tmp_path, two_agents):
  kind = ['curves'] if command == 'plot' else []
  out = [] if command == 'compare' else ['--out', tmp_path / 'x.html']
  out = ['--out', tmp_path / 'x.png'] if command == 'plot' else out
  with pytest.raises(UserError, match="--allow: 'action' is not allowed; allo"):
    run(command, *kind, two_agents[0], '--to', 'dreamerv1/released', *out,
        '--allow', 'action')


class TestOmissions:
  """What a figure lacks is said; a figure without the runs is refused."""

  def check(self, kind, found, to):
    reference = to and references.load(to)
    groups, _ = comparable.check(found, reference)
    tasks = sorted(groups or reference.scores)
    return omissions.check(kind, groups, reference, tasks)

  def test_runs_that_have_not_come_so_far(self):
    near, far = make_run(until=10 ** 6), make_run(
        'dmc_cup_catch', until=5 * 10 ** 6)
    with pytest.raises(UserError, match='bars: nothing of these runs .* the '
                       'runs reached 1,000,000, .* is at 5,000,000'):
      self.check('bars', [near], 'dreamerv1/table_g')
    line, = self.check('bars', [near, far], 'dreamerv1/table_g')
    assert line.startswith(f'{TASK}: the runs reached 1,000,000')

  def test_a_task_without_evaluations(self):
    empty = make_run()._replace(evaluations=[])
    other = make_run('dmc_cup_catch')
    line, = self.check('curves', [empty, other], None)
    assert line == f'{TASK}: no evaluation during training'
    for found in ([empty], [empty, other]):
      with pytest.raises(UserError, match='aggregate: nothing of these runs'):
        self.check('aggregate', found, None)

  def test_no_common_step(self):
    found = [make_run(until=50_000), make_run('dmc_cup_catch')]
    found[0] = found[0]._replace(evaluations=[(777, [1.0])])
    with pytest.raises(UserError, match='no step at which all tasks have'):
      self.check('aggregate', found, None)

  def test_a_reference_without_curves(self):
    found = [make_run(), make_run('dmc_cup_catch')]
    assert self.check('aggregate', found, 'dreamerv1/released') == []
    assert self.check('curves', found, 'dreamerv1/released') == []
    found = [make_run(f'atari_{game}', actions='minimal') for game in (
        'boxing', 'double_dunk')]
    line, = self.check('aggregate', found, 'dreamerv1/fig9')
    assert line == ('dreamerv1/fig9: left out, as it has no curve of '
                    'atari_boxing, atari_double_dunk')

  def test_a_report_says_that_it_compares_nothing(self, tmp_path, capsys):
    logdirs = write_runs(tmp_path / 'mine')
    run('report', *logdirs, '--to', 'dreamerv1/table_g', '--out',
        tmp_path / 'x.html')
    shown = capsys.readouterr()
    assert 'note: not compared with dreamerv1/table_g: no budget in' in (
        shown.err)
    assert 'Not compared: no budget in common' in (
        tmp_path / 'x.html').read_text()


@pytest.mark.parametrize('sets, told', [('minimal', True), ('full', False)])
def test_shares_of_a_paper_that_measured_otherwise(tmp_path, sets, told):
  logdir = write_run(
      tmp_path / 'pong', [(10 ** 6, [5.0])], agent='dreamerv2',
      presets=['atari'], task=GAME, **{'atari.actions': sets})
  write_lines(logdir / 'eval.jsonl', [
      {'policy': 'trained', 'step': 10 ** 6, 'returns': [3.0, 4.0]}])
  run_, = runs.load([logdir])
  notes = reached.table(run_).notes
  assert any('actions is minimal here, full there' in x for x in notes) == told
  assert any('Share of the paper' in x for x in notes) != told
  assert bool(comparable.paper_differs(run_)) == told
