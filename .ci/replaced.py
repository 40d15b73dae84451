"""Prints what `pip install --report` would replace in this environment."""

import importlib.metadata
import json
import sys


def main():
  found = []
  for item in json.load(sys.stdin)['install']:
    name, new = (item['metadata'][key] for key in ('name', 'version'))
    try:
      old = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
      continue
    found.append(f'{name} {old} (needed: {new})')
  print(', '.join(found))


if __name__ == '__main__':
  main()
