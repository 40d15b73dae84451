"""Checks each requirement, also of tests: installed, that version, imports."""

import concurrent.futures
import importlib.metadata
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
FILES = ('requirements.txt', '.ci/requirements-cluster.txt',
         '.ci/requirements-test.txt')


def main():
  lines = [line for name in FILES
           for line in (ROOT / name).read_text().splitlines()]
  pins = [line.split('#')[0].strip() for line in lines]
  with concurrent.futures.ThreadPoolExecutor(2) as pool:
    faults = list(filter(None, pool.map(check, filter(None, pins))))
  for fault in faults:
    print(f'error: requirements: {fault}', file=sys.stderr)
  sys.exit(bool(faults))


def check(pin):
  """Returns what is wrong with a line `name==version`, or None."""
  match = re.fullmatch(r'([\w.-]+)(?:\[[\w,-]+\])?==([\w.]+)', pin)
  if not match:
    return f'{pin!r} is not name==version'
  name, version = match.groups()
  try:
    found = importlib.metadata.version(name)
  except importlib.metadata.PackageNotFoundError:
    return f'{name} is not installed'
  if found != version:
    return f'{name} {found} is installed, not {version}'
  # One process each: rendering libraries and TensorFlow don't mix.
  for module in modules(name):
    run = subprocess.run(
        [sys.executable, '-c', f'import {module}'],
        capture_output=True, text=True)
    if run.returncode:
      return f'import {module} fails: {run.stderr.strip()[-300:]}'
  return None


def modules(distribution):
  """Top-level modules that a distribution brings."""
  wanted = re.sub(r'[-_.]+', '-', distribution).lower()
  return sorted(
      module for module, owners
      in importlib.metadata.packages_distributions().items()
      if module.isidentifier() and not module.startswith('_') and wanted in [
          re.sub(r'[-_.]+', '-', owner).lower() for owner in owners])


if __name__ == '__main__':
  main()
