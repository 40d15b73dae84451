"""Which classes a config asks for."""

import itertools

import pytest

from dreamer.config.schema import Section
from dreamer.nn.variants import Unless, choose


class Part:
  def name(self):
    return 'part'


class Paper:
  part_class = Part

  def __init__(self, size):
    self.size = size

  def names(self):
    return ['paper']


class One(Paper):
  """One."""

  def names(self):
    return ['one', *super().names()]


class Two(Paper):
  def __init__(self, size):
    super().__init__(2 * size)

  def names(self):
    return ['two', *super().names()]


class More(One):
  """More of One."""

  def names(self):
    return ['more', *super().names()]


class Other(Part):
  def name(self):
    return 'other'


TABLE = {
    'a.one': {True: One}, 'a.more': {True: More}, 'two': {'yes': Two},
    'part': {'other': Other}, 'number': Unless(1.0, Two, Other)}
PLAIN = {'a': {'one': False, 'more': False}, 'two': 'no', 'part': 'part',
         'number': 1.0}


def config(**changes):
  return Section({**PLAIN, **changes})


def test_the_paper_where_nothing_else_is_asked_for():
  assert choose(Paper, TABLE, config()) is Paper


def test_every_mixture():
  for one, two in itertools.product((True, False), ('yes', 'no')):
    kind = choose(Paper, TABLE, config(
        a={'one': one, 'more': False}, two=two))
    expected = ['two'] * (two == 'yes') + ['one'] * one + ['paper']
    made = kind(3)
    assert made.names() == expected and isinstance(made, Paper)
    assert made.size == (6 if two == 'yes' else 3)


def test_variant_of_a_variant_counts_with_it_only():
  for one, names in ((True, ['more', 'one', 'paper']), (False, ['paper'])):
    kind = choose(Paper, TABLE, config(a={'one': one, 'more': True}))
    assert kind(1).names() == names


def test_parts_are_chosen_too():
  kind = choose(Paper, TABLE, config(part='other'))
  assert kind.part_class().name() == 'other' and kind(1).names() == ['paper']
  assert Paper.part_class is Part


def test_all_but_one_value():
  for number in (0.0, 2.0):
    kind = choose(Paper, TABLE, config(number=number))
    assert kind(1).names() == ['two', 'paper']
    assert kind.part_class().name() == 'other'


def test_the_same_variant_by_two_keys_stands_once():
  kind = choose(Paper, TABLE, config(two='yes', number=0.0))
  assert kind(1).names() == ['two', 'paper'] and kind(1).size == 2


def test_a_users_subclass_gets_them_as_well():
  class Own(Paper):
    def names(self):
      return ['own', *super().names()]
  kind = choose(Own, TABLE, config(a={'one': True, 'more': True}))
  assert kind(1).names() == ['more', 'one', 'own', 'paper']
  assert kind.__name__ == 'Own'


def test_unknown_keys_are_noticed():
  for key in ('three', 'a.two'):
    with pytest.raises(KeyError):
      choose(Paper, {key: {1: One}}, config())
