"""Tables as text, Markdown and HTML."""

from dreamer import tables

TABLE = tables.Table(
    'A<b>', ('x', 'y'), [['a|b', '1'], ['c', '10']], ('n',))


def test_text():
  assert tables.to_text(TABLE).splitlines() == [
      'A<b>', '', 'x     y', '---  --', 'a|b   1', 'c    10', '', 'n']


def test_text_with_details_set_to_the_left():
  table = TABLE._replace(
      title='', notes=(), left=2, details={0: ['  more', '  still']})
  assert tables.to_text(table).splitlines() == [
      'x    y', '---  --', 'a|b  1', '  more', '  still', 'c    10']


def test_text_without_rows():
  assert tables.to_text(TABLE._replace(rows=[])) == 'A<b>\n\nn'
  assert tables.to_text(TABLE._replace(rows=[], notes=())) == 'A<b>'


def test_markdown():
  assert tables.to_markdown(TABLE).splitlines() == [
      '| x | y |', '| --- | ---: |', '| a\\|b | 1 |', '| c | 10 |', '', 'n']


def test_markdown_with_its_title():
  assert tables.to_titled_markdown(TABLE).startswith('**A<b>**\n\n| x | y |')
  assert tables.to_titled_markdown(TABLE._replace(title='')) == (
      tables.to_markdown(TABLE))


def test_html_is_escaped():
  text = tables.to_html(TABLE)
  assert '<h3>A&lt;b&gt;</h3>' in text and '<td>a|b</td><td>1</td>' in text


def test_number():
  assert [tables.number(x, 1) for x in (None, 0.05, 1234.56)] == [
      '-', '0.1', '1,234.6']
