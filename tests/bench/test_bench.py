"""Benchmarks: what they measure, and how they are chosen."""

import json
import subprocess

import pytest

import dreamerv1
from dreamer.bench import __main__ as bench
from dreamer.bench import agents as bench_agents
from dreamer.bench import replay as bench_replay
from dreamer.config.agents import Size
from dreamer.errors import UserError
from tests.support import agent_tools


def test_benchmark_of_a_store():
  result = bench_replay.measure_store(6000, 2)
  assert result['steps'] == 6000 and result['episodes'] >= 1
  # 64 x 64 pixels, 18 actions, reward and discount as float32, three flags.
  row = 64 * 64 + 4 * 18 + 2 * 4 + 3
  assert row < 1e3 * result['disk_gb_per_million_steps'] < 1.01 * row
  assert all(result[f'{kind}_{size}_ms_max'] >= result[f'{kind}_{size}_ms'] > 0
             for kind in ('warm', 'cold') for size in ('16x50', '50x50'))
  assert 20 < result['resident_mb'] <= 1.1 * result['resident_mb_max']


def test_benchmark_is_smaller_on_a_small_disk(monkeypatch):
  usage = bench_replay.shutil.disk_usage('/')
  monkeypatch.setattr(
      bench_replay.shutil, 'disk_usage', lambda _: usage._replace(
          free=2 * 4179 * 700))
  assert bench_replay.measure_store(6000, 1)['steps'] == 700


def test_benchmark_of_opening(monkeypatch):
  monkeypatch.setattr(bench_replay, 'QUICK_OPENED', 2000)
  result = bench_replay.measure_open('replay/open', True)
  assert result['episodes'] == 2000
  # 1e5 episodes in 3 seconds are 30 microseconds each.
  assert 0 < result['open_cpu_s_min'] < 2000 * 30e-6
  assert result['add_ms_empty'] > 0 and result['add_ms_full'] > 0


@pytest.mark.parametrize('filters, expected', [
    (['replay'], ['replay']), (['replay/atari'], ['replay/atari']),
    (['repl'], ['replay', 'replay/atari']), (['env'], ['env/x']),
    ([], ['env/x', 'replay', 'replay/atari'])])
def test_benchmarks_by_name(monkeypatch, capsys, filters, expected):
  monkeypatch.setattr(bench, 'benchmarks', lambda: {
      x: lambda name, quick: {} for x in ('env/x', 'replay', 'replay/atari')})
  bench.main(filters)
  lines = [json.loads(x) for x in capsys.readouterr().out.splitlines()]
  assert [x['name'] for x in lines] == ['machine', *expected]


def test_each_filter_names_something(monkeypatch):
  monkeypatch.setattr(bench, 'benchmarks', lambda: {'replay': None})
  with pytest.raises(UserError, match='nothing is called udpate; there are re'):
    bench.main(['replay', 'udpate'])


class TestAgents:
  """At a size of seconds, by the code of the real ones."""

  @pytest.fixture(autouse=True)
  def small(self, monkeypatch):
    monkeypatch.setitem(dreamerv1.entry.sizes, 'tiny', Size(
        ['dmc', 'debug'], {}, 3, 'continuous', 6))

  def run(self, capsys, what, settings):
    """What a process of its own prints, here."""
    bench_agents.main(json.dumps([what, 'dreamerv1/tiny', True, settings, 0.0]))
    return json.loads(capsys.readouterr().out)

  def test_updates(self, capsys):
    found = self.run(capsys, 'update', {'jit': 'off'})
    assert found['device'] == 'CPU' and not found['compiled']
    assert 'device_peak_gib' not in found
    assert 0 < found['update_wall_s_min'] <= found['update_wall_s_median']
    assert 0 < found['share_wall'] < 1.5 and 0 < found['share_cpu'] < 1.5

  def test_actions(self, capsys):
    found = self.run(capsys, 'act', {})
    assert found['act_1_ms'] > 0 and found['act_16_ms'] > 0

  @pytest.mark.slow
  def test_kernels(self, capsys):
    found = self.run(capsys, 'kernels', {'jit': 'on', 'unroll': False})
    loops = {key.split(' x')[0] for key in found if ' x' in key}
    assert loops == {
        'scan', "scan's gradient", 'scan_1', "scan_1's gradient"}
    assert found.pop('kernels') == sum(found.values()) > 500

  def test_with_and_without_xla(self, monkeypatch):
    asked = []

    def run(command, **kwargs):
      asked.append(json.loads(command[-1])[:4])
      return subprocess.CompletedProcess(command, 0, json.dumps({
          'update_wall_s_min': 0.5, 'first_update_s': 3, 'device': 'CPU'}))

    monkeypatch.setattr(subprocess, 'run', run)
    assert bench_agents.measure_jit('jit/dreamerv1/tiny', True) == {
        'update_wall_s_min_on': 0.5, 'update_wall_s_min_off': 0.5,
        'first_update_s_on': 3, 'first_update_s_off': 3,
        'updates_per_s_on': 2.0, 'updates_per_s_off': 2.0, 'device': 'CPU'}
    assert asked == [['update', 'dreamerv1/tiny', True, {'jit': jit}]
                     for jit in ('on', 'off')]

  def test_a_process_that_fails_is_a_line(self):
    found = bench_agents.measure_act('act/dreamerv1/none', True)
    assert 'dreamerv1/none' in found['error']


def test_one_call_acts_for_all_environments():
  """However many rows, the compiled policy is called once."""
  agent = agent_tools.make_agent()
  for rows in bench_agents.ROWS:
    action, _ = agent.policy(agent_tools.make_obs(rows))
    assert action.shape[0] == rows
  assert int(agent.counters['acts_train']) == 2
