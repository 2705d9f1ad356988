"""Does an artifact still hold on a retrained model? Cheapest questions first; a verdict per feature.

scores     F1 of a label, correlation, the statistics that are compared
tokens     whether token ids still mean what they meant
measures   the scores of each feature, on canaries and on answers
rules      effect sizes into verdicts, in one place
selection  which documents are read where a budget does not cover all of them
reporting  the report, and the verdicts that take no measuring
keeping    which labels hold of an SAE that was trained on for a retrained model
check      runs the questions in their order
page       the report as an HTML page with plots
"""
