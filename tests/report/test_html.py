from __future__ import annotations

from tadshrink.report.html import Html, code, details, pairs, table, tag


def test_text_is_escaped_and_html_is_not() -> None:
    assert str(tag("p", "<b> & ", tag("i", "x"), Html("<hr>"))) == "<p>&lt;b&gt; &amp; <i>x</i><hr></p>"
    assert str(tag("a", 1, href='"><script>', class_="c")) == '<a href="&quot;&gt;&lt;script&gt;" class="c">1</a>'


def test_everything_that_holds_text_escapes_it() -> None:
    evil = "<script>"
    for made in (table([evil], [[evil, evil]]), pairs([(evil, evil)]), details(evil, evil), code(evil)):
        assert "<script" not in str(made)
        assert "&lt;script&gt;" in str(made)


def test_tables_name_their_rows_and_columns() -> None:
    made = str(table(["", "mAP"], [["baseline", 1], ["final", 2]]))
    assert made.count('<th scope="col">') == made.count('<th scope="row">') == 2
    assert "<td>2</td>" in made
