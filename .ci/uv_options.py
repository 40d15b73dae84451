"""What pip is told by its settings, as options of uv: one a line.

    python -m pip config list | python .ci/uv_options.py

A line NAME=VALUE is for the environment. Where uv has no counterpart of a
setting, prints that setting and ends with status 1: pip has to do it then.
"""

import ast
import os
import sys

# Of pip's settings: the option of uv, and whether a value is a list.
OPTIONS = {
    'index-url': ('--default-index', False),
    'extra-index-url': ('--index', True),
    'find-links': ('--find-links', True),
    'constraint': ('--constraint', True),
    'trusted-host': ('--allow-insecure-host', True)}
FLAGS = {'no-index': '--no-index', 'require-hashes': '--require-hashes',
         'pre': '--prerelease=allow', 'no-deps': '--no-deps'}
VARIABLES = {'cert': 'SSL_CERT_FILE', 'timeout': 'UV_HTTP_TIMEOUT',
             'default-timeout': 'UV_HTTP_TIMEOUT', 'proxy': 'ALL_PROXY'}
# What says nothing about which files are installed.
NO_MATTER = {
    'cache-dir', 'disable-pip-version-check', 'no-cache-dir', 'no-color',
    'no-input', 'no-python-version-warning', 'progress-bar', 'quiet',
    'root-user-action', 'break-system-packages', 'retries', 'verbose'}
SECTIONS = 'global', 'install', ':env:'  # later ones win


def main():
  for line in options(settings(sys.stdin)):
    print(line)


def settings(lines):
  """Of `pip config list`: {name: value}, those that installing reads."""
  found = {}
  for line in lines:
    key, _, value = line.strip().partition('=')
    section, _, name = key.partition('.')
    if section in SECTIONS:
      found[SECTIONS.index(section), name] = ast.literal_eval(value)
  return {name: found[level, name] for level, name in sorted(found)}


def options(found):
  """The lines, in which paths are whole."""
  # As pip does: the best version of all places, not that of the first one.
  lines = ['--index-strategy', 'unsafe-best-match']
  for name, value in found.items():
    if name in OPTIONS:
      option, many = OPTIONS[name]
      for part in value.split() if many else [value]:
        lines += [option, whole(part, name)]
    elif name in FLAGS:
      lines += [FLAGS[name]] * is_on(value)
    elif name in VARIABLES:
      lines.append(f'{VARIABLES[name]}={value}')
    elif name not in NO_MATTER:
      print(name)
      sys.exit(1)
  return lines


def is_on(value):
  return value.lower() in ('1', 'true', 'yes', 'on')


def whole(part, name):
  """A path counts from where one stands; an address stays."""
  is_path = name in ('find-links', 'constraint') and '://' not in part
  return os.path.abspath(os.path.expanduser(part)) if is_path else part


if __name__ == '__main__':
  main()
