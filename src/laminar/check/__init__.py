"""The layer checker: a layer proved right, or told what is wrong. `laminar.check_layer` is the call.

`subject` is the layer under test with its copies and its data, a family of checks a file asks it questions, `registry` lists
them, `run` asks them all, `report` shows the answers.
"""
