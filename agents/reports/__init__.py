"""What a run was and what it learned, in one file that needs nothing else; runs beside each other.

formula     an objective's LaTeX as MathML, in lines
page        the HTML: sections, tables, pictures inside of the file
run         report.html of a run of training or pretraining
beside      numbers and curves of several runs
published   returns of others on dm_control, with their protocols
"""

from agents.reports.beside import compare
from agents.reports.run import write_report

__all__ = ["compare", "write_report"]
