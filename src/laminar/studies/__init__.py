"""Studies: one file a question of the mission. Each builds, runs, prints and draws; `laminar study NAME` runs it."""
