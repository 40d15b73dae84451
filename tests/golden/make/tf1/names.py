"""Names of the cases for the release's variables, which it numbers."""
import re

LAYERS = {
    'encoder/conv2d': ('encode', ['h1', 'h2', 'h3', 'h4']),
    'rnn/rssm/transition/dense': (
        'dynamics', ['img1', 'img2', 'img_mean', 'img_std']),
    'rnn/rssm/posterior/dense': (
        'dynamics', ['obs1', 'obs_mean', 'obs_std']),
    'head_image/dense': ('decode', ['h1']),
    'head_image/conv2d_transpose': ('decode', ['h2', 'h3', 'h4', 'h5']),
    'head_reward/dense': ('reward', ['h0', 'h1', 'hout']),
    'head_pcont/dense': ('pcont', ['h0', 'h1', 'h2', 'hout']),
    'head_value/dense': ('value', ['h0', 'h1', 'h2', 'hout']),
    'head_action/dense': (
        'actor', ['h0', 'h1', 'h2', 'h3', 'hmean', 'hstd']),
    'head_cpc/dense': ('cpc', ['h0', 'h1', 'h2', 'hmean', 'hstd']),
}
GRU = {'w_ru': 'gates/kernel', 'b_ru': 'gates/bias',
       'w_c': 'candidate/kernel', 'b_c': 'candidate/bias'}
# Losses and groups.
TERMS = {'divergence': 'kl', 'action': 'actor'}
STATE = {'mean': 'mean', 'stddev': 'std', 'sample': 'stoch',
         'belief': 'deter'}


def parameter(variable):
  """Its name in the cases; None for what belongs to an optimiser."""
  name = variable.op.name
  gru = re.match(r'graph/rnn/rssm/transition/gru_cell/(\w+)$', name)
  if gru:
    return 'dynamics/gru/' + GRU[gru.group(1)]
  found = re.match(r'graph/(.+?)(?:_(\d+))?/(kernel|bias)$', name)
  if not found or found.group(1) not in LAYERS:
    return None
  module, layers = LAYERS[found.group(1)]
  return f'{module}/{layers[int(found.group(2) or 0)]}/{found.group(3)}'
