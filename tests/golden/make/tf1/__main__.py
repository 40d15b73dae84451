"""Makes one case of google-research/dreamer (README.md beside)."""
import os
import sys

import rules

args = rules.arguments(__doc__)
os.environ['TF_CPP_MIN_LOG_LEVEL'] = '3'
os.environ['CUDA_VISIBLE_DEVICES'] = ''
sys.path.insert(0, args.release)

import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402
import tensorflow_probability as tfp  # noqa: E402
from tf1 import batch as batches  # noqa: E402
from tf1 import (  # noqa: E402
    cases,
    functions,
    names,
    planner,
    record,
    release,
    samplers,
)

PLAIN = (bool, int, float, str, type(None))


def main():
  if args.case in cases.FUNCTIONS:
    rules.remake_functions(
        functions.FUNCTIONS[args.case], args.stored, args.out)
    return
  spec = cases.spec(args.case)
  batch = rules.load(args.stored, 'batch.npz') if args.stored else (
      batches.make(spec['action'], *spec['overrides']['batch_shape'],
                   spec['seed']))
  config = release.configuration(spec)
  collect = planner.collection(config)
  with samplers.replaced(), record.recording() as notes:
    release.graph(config, batch)
    parameters = release.variables()
    session = release.session(parameters)
    plans = {}
    if 'planner_beams' in spec['overrides']:
      plans = plan(session, notes, collect, spec)
  arrays = run(session, notes, parameters, spec['steps'])
  case = description(config, notes, parameters, arrays)
  if args.plain:
    case['untouched'] = untouched(notes, parameters)
  rules.write(args.out, case, batch=batch, expected=arrays, cem=plans,
              is_large=is_large)


def is_large(name, value):
  return name == 'tensor/recon' or value.size > 20000


def plan(session, notes, collect, spec):
  stored = args.stored and os.path.join(args.stored, 'cem.npz')
  normals = None
  if stored and os.path.exists(stored):
    normals = rules.load(args.stored, 'cem.npz')['normals']
  return planner.plans(
      session, notes, collect, spec['overrides'], spec['action'][1], normals,
      spec['seed'])


def run(session, notes, parameters, steps):
  """All arrays of the case."""
  arrays = {}
  for k in range(steps):
    found = release.train_step(session, notes)
    arrays.update({
        f'step{k}/{name}': value
        for name, value in found['scalars'].items()})
    if k == 0:
      arrays.update({
          'tensor/' + name: value for name, value in found['tensors'].items()})
      arrays.update(gradients(notes, found['gradients']))
  values = session.run(parameters)
  arrays.update({'param/' + name: value for name, value in values.items()})
  return arrays


def untouched(notes, parameters):
  """The first step as the release runs it: how far its parameters are."""
  after = []
  for step in (release.plain_step, release.train_step):
    session = release.session(parameters)
    step(session, notes)
    after.append(session.run(parameters))
  return rules.largest_difference(*after)


def gradients(notes, values):
  found = {}
  for group, grads in zip(notes.groups, values):
    for (_, variable), grad in zip(group['gradients'], grads):
      found['grad/' + names.parameter(variable)] = grad
  return found


def description(config, notes, parameters, arrays):
  """What case.json says."""
  order = [group['name'] for group in notes.groups]
  merged = [names.TERMS.get(k, k) for k in sorted(config.loss_scales)]
  merged = [k for k in merged
            if k not in order and 'step0/loss/' + k in arrays]
  groups = {group['name']: _group(group, merged) for group in notes.groups}
  reader = config.data_reader._kwargs
  return dict(
      cases.recorded(args.case), groups=groups, optimizer_order=order,
      clip_rewards=reader['clip_rewards'], free_nats=config.free_nats,
      loss_scales=dict(config.loss_scales),
      gradient_heads=list(config.gradient_heads),
      no_gradient=[k for k in parameters if 'grad/' + k not in arrays],
      config={k: v for k, v in config.items()
              if is_plain(v) and not k.endswith('_dir')},
      param_shapes={k: v.shape.as_list() for k, v in parameters.items()},
      tf1_variables={k: v.op.name for k, v in parameters.items()},
      versions=rules.versions(
          tensorflow=tf.__version__, tensorflow_probability=tfp.__version__,
          numpy=np.__version__))


def is_plain(value):
  if isinstance(value, (list, tuple)):
    return bool(value) and all(isinstance(x, PLAIN) for x in value)
  return isinstance(value, PLAIN)


def _group(group, merged):
  """One optimiser: its losses, layers and settings."""
  own = group['optimizer']
  layers = {names.parameter(v).rsplit('/', 1)[0]
            for _, v in group['gradients']}
  return dict(
      losses=merged if group['name'] == 'model' else [group['name']],
      params=sorted(layers), learning_rate=own._learning_rate,
      clipping=own._clipping, epsilon=own._optimizer._epsilon,
      optimizer='tf.train.AdamOptimizer')


main()
