"""Processors: the affinity mask, and control groups as the kernel shows them.
"""

import contextlib
import functools
import math
import os
import pathlib
import subprocess
import sys

import pytest

from dreamer import cpus
from tests.support import ROOT

V1 = '41 31 0:29 {root} {mount} rw,relatime - cgroup cgroup rw,{options}'
V2 = '41 31 0:38 {root} {mount} rw,relatime - cgroup2 cgroup2 rw,nsdelegate'


@pytest.fixture
def system(tmp_path):
  """Makes the files of a system: groups, mounts, {file: content}."""
  def make(groups, mounts, files):
    files = {'proc/self/cgroup': groups, 'proc/self/mountinfo': mounts,
             **{f'sys/fs/cgroup/{key}': x for key, x in files.items()}}
    for name, content in files.items():
      path = tmp_path / name
      path.parent.mkdir(parents=True, exist_ok=True)
      path.write_text(content + '\n')
    return tmp_path
  return make


def v2(root='/', mount='/sys/fs/cgroup'):
  return ('23 1 0:5 / /proc rw - proc proc rw\n'
          + V2.format(root=root, mount=mount))


def v1(root='/', options='cpu,cpuacct'):
  return V1.format(
      root=root, mount='/sys/fs/cgroup/cpu', options=options)


class TestQuota:

  def test_without_control_groups(self, tmp_path):
    assert cpus.quota(tmp_path) == math.inf

  @pytest.mark.parametrize('text, wanted', [
      ('max 100000', math.inf), ('150000 100000', 1.5), ('50000 100000', 0.5),
      ('?', math.inf)])
  def test_of_a_container(self, system, text, wanted):
    assert cpus.quota(system('0::/', v2(), {'cpu.max': text})) == wanted

  @pytest.mark.parametrize('own, above, wanted', [
      ('max 100000', '300000 100000', 3), ('200000 100000', 'max 100000', 2),
      ('400000 100000', '100000 100000', 1)])
  def test_of_a_group_and_those_above(self, system, own, above, wanted):
    found = system('0::/user.slice/job 7', v2(), {
        'user.slice/job 7/cpu.max': own, 'user.slice/cpu.max': above,
        'other/cpu.max': '10000 100000'})
    assert cpus.quota(found) == wanted

  @pytest.mark.parametrize('path, root', [
      ('/docker/1f', '/docker/1f'), ('/', '/docker/1f'), ('/../..', '/')])
  def test_where_only_a_part_is_mounted(self, system, path, root):
    found = system(f'0::{path}', v2(root), {'cpu.max': '250000 100000'})
    assert cpus.quota(found) == 2.5

  @pytest.mark.parametrize('most, wanted', [
      ('-1', math.inf), ('50000', 0.5), ('300000', 3)])
  @pytest.mark.parametrize('path, root', [
      ('/', '/'), ('/docker/1f', '/docker/1f')])
  def test_version_1(self, system, most, wanted, path, root):
    groups = f'5:memory:/other\n4:cpu,cpuacct:{path}\n0::/'
    found = system(groups, v1(root), {
        'cpu/cpu.cfs_quota_us': most, 'cpu/cpu.cfs_period_us': '100000'})
    assert cpus.quota(found) == wanted

  def test_another_controller_has_no_say(self, system):
    found = system('4:cpuset:/', v1(options='cpuset'), {
        'cpu/cpu.cfs_quota_us': '1000', 'cpu/cpu.cfs_period_us': '100000'})
    assert cpus.quota(found) == math.inf

  def test_a_space_in_a_path(self, system):
    found = system('0::/', v2(mount='/sys/fs/cgroup/a\\040b'), {
        'a b/cpu.max': '100000 100000'})
    assert cpus.quota(found) == 1


CODE = 'from dreamer import cpus; print(cpus.allowed())'


def in_process(before):
  """What a process may use that calls a function before."""
  done = subprocess.run(
      [sys.executable, '-c', CODE], cwd=ROOT, preexec_fn=before, text=True,
      stdout=subprocess.PIPE, check=True)
  return int(done.stdout)


@pytest.mark.skipif(
    not hasattr(os, 'sched_setaffinity'), reason='no affinity masks')
def test_affinity():
  mask = sorted(os.sched_getaffinity(0))
  for amount in {1, len(mask)}:
    found = in_process(functools.partial(
        os.sched_setaffinity, 0, mask[:amount]))
    assert found == math.ceil(min(amount, cpus.quota()))


def join(group):
  (group / 'cgroup.procs').write_text(str(os.getpid()))


def test_a_group_of_the_kernel():
  """Where this machine lets us make one."""
  tops = [pathlib.Path('/sys/fs/cgroup', x) for x in ('cpu', '')]
  for top in tops:
    group = top / f'dreamer_{os.getpid()}'
    with contextlib.suppress(OSError):
      group.mkdir()
      try:
        if top.name == 'cpu':
          (group / 'cpu.cfs_period_us').write_text('100000')
          (group / 'cpu.cfs_quota_us').write_text('70000')
        else:
          (group / 'cpu.max').write_text('70000 100000')
        assert in_process(functools.partial(join, group)) == 1
        return
      finally:
        group.rmdir()
  pytest.skip('no control group can be made here')
