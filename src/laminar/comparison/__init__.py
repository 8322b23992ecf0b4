"""Comparing networks: paired runs, and a verdict with its uncertainty.

Declared before: `protocol`. One run: `task` (trains and tests it), `runs` (what it left), `environment` (what it ran on),
`together` (many seeds in one program), `memory` (bytes of a training step). Keeping runs: `store`, `connections` (where it
lies), `claims` (who runs what), `worker`, `processes`. Pure numbers: `intervals`, `permutation`, `superiority`, `power`,
`evidence` (looking after every pair), `multiple`, `verdicts`, `schedule` (what is still to run), `costs`. What a person
reads: `result`, `words`, `units`, `page` (the report) with its `figures`, `tables`, `explained`, `drawing`. The entrance:
`compare`, or a file (`studyfile`); `fitting` and `checked` look at all that can be wrong before the first run, `fingerprint`
(by `digest`) knows a study again, `study` is the comparison in its store, and `parcel` takes it to other processes.
"""
