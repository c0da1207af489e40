"""Pictures of the pages, drawn from what they show: ``python -m pages``.

Each maker has a function without parameters that returns a `Sheet`, the content of a file in
`docs/`. `verif/test_pages.py` compares what they show with the gateware, the golden
model and the emitted Verilog, and the files with what they return.
"""
