"""Searching for the parameters with which a network trains best, and confirming what the search claims.

What a search is, and one trial of it: `attempt`. What a trial left: `trials`. Optuna's side: `strategies` (samplers and pruners
by name), `studies` (trials in the store), `defaults` (the default parameters, tried before). The loop of one process: `loop`.
What a person sees: `live` while it runs, `result` at the end; `confirm`: how much of the gain survives. The entrance: `search`.
"""
