"""What our parameters are called in the golden cases.

RULES are pairs of patterns, of our name and of theirs, in which `{n}` is a
number of ours that counts from 1 and `{n-1}` the same one from 0. The first
that fits a part of a name is applied to it.
"""

import re

HEAD_V1 = [
    ('dense{n}', 'h{n-1}'), ('out', 'hout'), ('mean', 'hmean'),
    ('std', 'hstd')]
HEAD_V2 = [
    ('dense{n}/norm', 'norm{n-1}'), ('dense{n}', 'dense{n-1}'),
    ('out', 'out/out'), ('mean', 'out/out'), ('std', 'out/std')]
MIXED_V2 = [
    ('conv{n}/norm', 'convnorm{n-1}'), ('dense{n}/norm', 'densenorm{n-1}'),
    ('conv{n}', 'conv{n-1}'), ('dense{n}', 'dense{n-1}'),
    ('conv_in', 'convin'), (r'out/(\w+)', r'dense_\1/out')]


def _inside(ours, theirs, rules):
  return [(f'{ours}/{a}', f'{theirs}/{b}') for a, b in rules]


RULES = {
    'dreamerv1': [
        ('encoder/conv{n}', 'encode/h{n}'),
        ('decoder/conv_in', 'decode/h1'),
        *((f'decoder/conv{i}', f'decode/h{i + 1}') for i in range(1, 5)),
        ('rssm/img_in', 'dynamics/img1'),
        ('rssm/gru', 'dynamics/gru'),
        ('rssm/img_out', 'dynamics/img2'),
        ('rssm/obs_out', 'dynamics/obs1'),
        (r'rssm/(img|obs)_dist/(mean|std)', r'dynamics/\1_\2'),
        ('rssm/img_dist', 'dynamics/img3'),
        ('rssm/obs_dist', 'dynamics/obs2'),
        *_inside('reward', 'reward', HEAD_V1),
        *_inside('discount', 'pcont', HEAD_V1),
        *_inside('cpc', 'cpc', HEAD_V1),
        *_inside('actor', 'actor', HEAD_V1),
        *_inside('critic', 'value', HEAD_V1)],
    'dreamerv2': [
        *_inside('encoder', 'wm/encoder', MIXED_V2),
        *_inside('decoder', 'wm/heads/decoder', MIXED_V2),
        ('rssm/img_out/norm', 'wm/rssm/img_out_norm_0'),
        (r'rssm/(img_in|obs_out)/norm', r'wm/rssm/\1_norm'),
        (r'rssm/(img_out|img_dist)', r'wm/rssm/\1_0'),
        (r'rssm/(\w+)', r'wm/rssm/\1'),
        *_inside('reward', 'wm/heads/reward', HEAD_V2),
        *_inside('discount', 'wm/heads/discount', HEAD_V2),
        *((f'{prefix}{ours}/{a}', f'{prefix}{theirs}/{b}')
          for prefix in ('', 'expl/')
          for ours, theirs in (('actor', 'actor'), ('critic', 'critic'),
                               ('slow_critic', 'target_critic'))
          for a, b in HEAD_V2),
        *((f'expl/head{{m}}/{a}', f'expl/networks{{m-1}}/{b}')
          for a, b in HEAD_V2)]}


def theirs(agent, name):
  """The name in a golden case of our parameter, such as reward/out/bias."""
  for ours, other in RULES[agent]:
    pattern = re.sub(r'\{(\w)\}', r'(?P<\1>\\d+)', ours)
    match = re.match(rf'{pattern}/', name)
    if match:
      return f'{_fill(other, match)}/{name[match.end():]}'
  raise KeyError(f'{name}: no name in the golden cases; see {__name__}')


def _fill(text, match):
  """Groups and numbers of a match in place of their marks."""
  text = re.sub(r'\\(\d)', lambda x: match[int(x[1])], text)
  return re.sub(r'\{(\w)(-1)?\}', lambda x: str(
      int(match[x[1]]) - bool(x[2])), text)
