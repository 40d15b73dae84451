"""case.json: its schema, and what is made of it."""

import json

import jsonschema
import numpy as np
import pytest

from dreamer import conform
from dreamer.conform import cases, terms
from dreamer.errors import UserError
from tests.support import GOLDEN

DATA = {path.parent.name: json.loads(path.read_text())
        for path in sorted(GOLDEN.glob('*/case.json'))}
TRAINING = {key: x for key, x in DATA.items() if not cases.is_function(x)}
SCHEMA = json.loads(cases.SCHEMA.read_text())


def problems(data):
  return [x.message for x in jsonschema.Draft202012Validator(
      SCHEMA).iter_errors(data)]


def test_the_schema_is_one():
  jsonschema.Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize('name', TRAINING)
def test_every_case_keeps_to_the_schema(name):
  assert problems(TRAINING[name]) == []


@pytest.mark.parametrize('name', sorted(set(DATA) - set(TRAINING)))
def test_cases_of_functions_keep_to_theirs(name):
  check = jsonschema.Draft202012Validator(SCHEMA['$defs']['function'])
  assert not list(check.iter_errors(DATA[name]))


def test_every_folder_with_train_steps_is_looked_at():
  folders = {path.parent.name for path in GOLDEN.glob('*/expected.npz')}
  assert set(TRAINING) == folders


@pytest.mark.parametrize('change', [
    {'agent': 'dreamerv9'}, {'reference': 'danijar/dreamer'},
    {'batch': [3]}, {'steps': 0}, {'params': 'guessed'}, {'image': [64, 64]},
    {'param_shapes': {'x/kernel': [0]}}, {'action_space': {'type': 'text'}},
    {'unheard_of': 1}, {'argmax_margin_min': 'none'}])
def test_the_schema_refuses(change):
  assert problems({**TRAINING['v1_dmc_small'], **change})


def test_every_key_is_explained_to_strangers():
  text = (GOLDEN / 'README.md').read_text()
  read = [key for key, x in SCHEMA['properties'].items()
          if not x['description'].startswith('Not read.')]
  assert [key for key in read if f'`{key}`' not in text] == []


def test_what_is_said_not_to_be_read_is_not():
  """Nothing of the checker needs it."""
  for name, data in TRAINING.items():
    less = {key: x for key, x in data.items()
            if not SCHEMA['properties'][key]['description'].startswith(
                'Not read.')}
    assert terms.settings(less) == terms.settings(data), name
    assert terms.units(less) == terms.units(data), name


@pytest.mark.parametrize('name', TRAINING)
def test_each_parameter_has_a_unit(name):
  case = conform.case(name)
  kept = {x for x in case.names if x.startswith(('param/', 'param1/'))}
  assert kept <= set(case.units)
  warm = TRAINING[name].get('lr_per_update', [1])[0] == 0  # nothing moves then
  assert min(case.units.values()) > 0 or warm


@pytest.mark.parametrize('name, terms_', [
    ('v1_dmc_small', {'horizon': 4, 'free_nats': 3.0, 'lambda': 0.95,
                      'deter': 12, 'critic_lr': 8e-5, 'adam_eps': 1e-7}),
    ('tf1_planet_small', {'free_nats': 0.05, 'model_lr': 6e-4, 'units': 16,
                          'adam_eps': 1e-4, 'reward_transform': False}),
    ('v2_atari_small', {'horizon': 4, 'kl_balance': 0.8, 'classes': 5,
                        'actor_gradient': 'auto', 'weight_decay': 1e-6,
                        'discount_scale': 5.0, 'units': 16})])
def test_settings_in_the_terms_of_the_papers(name, terms_):
  found = conform.case(name).settings
  assert {key: found[key] for key in terms_} == terms_


def test_parameters_and_batch():
  case = conform.case('v2_atari_small')
  assert {k: x.shape for k, x in case.parameters.items()} == case.shapes
  assert case.batch['image'].shape == (3, 6, 64, 64, 1)
  assert case.path.name == case.name == 'v2_atari_small'
  kernel = case.parameters['wm/rssm/gru/dense/kernel']
  assert kernel.dtype == np.float32
  assert np.array_equal(kernel, cases.rule_parameter(
      'wm/rssm/gru/dense/kernel', kernel.shape))


def test_a_learning_rate_that_nobody_wrote(tmp_path):
  data = {**DATA['v2_atari_small'], 'resolved_config': {}}
  with pytest.raises(UserError, match='lacks model_opt.lr'):
    terms.units(data)


@pytest.mark.parametrize('name, change, match', [
    ('v3_dmc_vision_small', lambda x: x.pop('lr_per_update'),
     'lacks lr_per_update'),
    ('v3_dmc_vision_small', lambda x: x.pop('resolved_config'),
     'lacks agent.slowvalue.rate'),
    ('tf1_dreamer_small', lambda x: x.pop('groups'), 'lacks groups'),
    ('v1_dmc_small', lambda x: x['param_shapes'].pop('encode/h1/kernel'),
     'param_shapes lacks the parameter of param/encode/h1/kernel'),
    ('v1_dmc_small', lambda x: x.update(agent='dreamerv4'),
     "agent: 'dreamerv4' is not allowed; allowed: dreamerv1, dreamerv2"),
    ('v1_dmc_small', lambda x: x.update(steps=0),
     'steps: 0 is not allowed; allowed: 1..')])
def test_a_case_that_lacks_something(tmp_path, name, change, match):
  data = json.loads(json.dumps(DATA[name]))
  change(data)
  for file in (GOLDEN / name).iterdir():
    (tmp_path / file.name).symlink_to(file)
  (tmp_path / 'case.json').unlink()
  (tmp_path / 'case.json').write_text(json.dumps(data))
  with pytest.raises(UserError, match=match) as info:
    assert conform.case(tmp_path).units
  assert '\n' not in str(info.value)
