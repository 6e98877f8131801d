"""Tables of scores and the HTML report: the home of pandas, matplotlib and jinja2; knows no stores."""
