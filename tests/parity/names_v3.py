"""What our parameters of DreamerV3 are called in the golden cases.

RULES as in names.py, for the name of a layer; `{n-1}` counts from 0. A norm
has its own name there, which RULES give beside that of the layer.
"""

import re

# Ours, theirs, and their norm.
MLP = [('dense{n}', 'mlp/linear{n-1}', 'mlp/norm{n-1}')]
RULES = [
    ('encoder/conv{n}', 'enc/cnn{n-1}', 'enc/cnn{n-1}norm'),
    ('encoder/dense{n}', 'enc/mlp{n-1}', 'enc/mlp{n-1}norm'),
    ('rssm/deter_in', 'dyn/dynin0', 'dyn/dynin0norm'),
    ('rssm/stoch_in', 'dyn/dynin1', 'dyn/dynin1norm'),
    ('rssm/action_in', 'dyn/dynin2', 'dyn/dynin2norm'),
    ('rssm/gru/hidden{n}', 'dyn/dynhid{n-1}', 'dyn/dynhid{n-1}norm'),
    ('rssm/gru/gates', 'dyn/dyngru', ''),
    ('rssm/img/dense{n}', 'dyn/prior{n-1}', 'dyn/prior{n-1}norm'),
    ('rssm/img/out', 'dyn/priorlogit', ''),
    ('rssm/obs/dense{n}', 'dyn/obs{n-1}', 'dyn/obs{n-1}norm'),
    ('rssm/obs/out', 'dyn/obslogit', ''),
    ('decoder/deter_in', 'dec/sp0', ''),
    ('decoder/stoch_in', 'dec/sp1', 'dec/sp1norm'),
    ('decoder/stoch_map', 'dec/sp2', ''),
    ('decoder/map_norm', 'dec/spnorm', ''),
    *((f'decoder/{a}', f'dec/{b}', f'dec/{c}') for a, b, c in MLP),
    *((f'{ours}/{a}', f'{theirs}/{b}', f'{theirs}/{c}')
      for ours, theirs in (
          ('reward', 'rew'), ('discount', 'con'), ('actor', 'pol'),
          ('critic', 'val'), ('slow_critic', 'slowval'))
      for a, b, c in MLP),
    (r'actor/(\w+)/(mean|logits)', r'pol/head/\1/\2', ''),
    (r'actor/(\w+)/std', r'pol/head/\1/stddev', ''),
    ('discount/out', 'con/head/logit', '')]
KINDS = {'gamma': 'scale', 'beta': 'shift'}


def make_rules(config, choices):
  """All rules of a config; choices: the keys of whole numbers."""
  found = list(RULES)
  amount = len(config.decoder.multiples.split(','))
  for index in range(1, amount + 1):
    name = f'conv{amount - 1 - index}' if index < amount else 'imgout'
    found.append((f'decoder/conv{index}', f'dec/{name}', f'dec/{name}norm'))
  for ours, theirs, head in (
      ('reward', 'rew', config.reward), ('critic', 'val', config.critic),
      ('slow_critic', 'slowval', config.critic)):
    kind = 'logits' if head.dist == 'symexp_twohot' else 'pred'
    found.append((f'{ours}/out', f'{theirs}/head/{kind}', ''))
  found += [(f'decoder/out/{key}', f'dec/vec/{key}/logits', '')
            for key in choices]
  return [*found, (r'decoder/out/(\w+)', r'dec/vec/\1/pred', '')]


def theirs(name, rules):
  """The name in a golden case of our parameter, such as reward/out/bias."""
  for ours, layer, norm in rules:
    pattern = re.sub(r'\{n\}', r'(?P<n>\\d+)', ours)
    match = re.fullmatch(rf'{pattern}/(?P<norm>norm/)?(?P<kind>\w+)', name)
    if match:
      text = norm if match['norm'] else layer
      text = re.sub(r'\\(\d)', lambda x, m=match: m[int(x[1])], text)
      if '{n-1}' in text:
        text = text.replace('{n-1}', str(int(match['n']) - 1))
      return f'{text}/{KINDS.get(match["kind"], match["kind"])}'
  raise KeyError(f'{name}: no name in the golden cases; see {__name__}')
