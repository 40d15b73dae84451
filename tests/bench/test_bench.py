"""Benchmarks: what they measure, and how they are chosen."""

import json

import pytest

from dreamer.bench import __main__ as bench
from dreamer.bench import replay as bench_replay


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
