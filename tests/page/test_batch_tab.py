"""The tab of many photographs, without a server."""

from resnext.page.tabs import batch


def test_a_spreadsheet_computes_no_cell_of_the_csv():
    assert batch.to_csv([batch.Row("=1+1.jpg", "rose", 0.5)]).splitlines()[1].startswith("'=1+1.jpg,")
