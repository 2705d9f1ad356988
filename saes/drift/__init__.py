"""Does an artifact still hold on a retrained model? Three questions, cheapest first; a verdict per feature.

scores   F1 of a label, correlation, the statistics that are compared
rules    effect sizes into verdicts, in one place
check    runs the questions in their order and writes the report
"""
