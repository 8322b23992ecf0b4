"""The layer checker: a layer proved right, or told what is wrong. `laminar.check_layer` is the call.

A check is one question put to a layer, a class with `@register` before it; a file has one check, or some of one idea. The
files, from the call to what the checks are made of:

The call: `run` asks all checks and catches what they raise, `registry` lists them in the order of the table,
`report` shows the answers, `target` reads the layer that a command line names.

What every check has: `base` (what a check is), `subject` (the layer under test: it gives out copies and data, the same each
time), `outcome` (what a check may say), `traits` (what a layer declares that it does on purpose), `words` (texts that several
checks need), `blame` (whose code an error came from).

The checks, by their group:
    contract: `builds`, `learnables_registered`, `learnables_used`, `learnables_stable`, `modes`, `batch_sizes`, `other_sizes`,
        `meta_shape`
    gradient: `gradient`, `gradient_uses`
    numerics: `dtypes`, `extremes`, `offset_inputs`, `nan_in`, `large_batch`
    behaviour: `randomness`, `observations`, `input_unchanged`, `hidden_state`, `modes_declared`, `running_statistics`
    placement: `device_moves`, `memory_layouts`, `copies`, `transforms`
    cost: `cost`

What they are made of:
    running a module: `running` (outputs and gradients under one seed), `graph` (what autograd saw), `watching` (which operation
        made or lost what is not finite), `misfits` (which results do not fit), `settings` (those of
        the whole program)
    comparing: `comparing` (two outputs, by one number), `differences` (two runs, by the tensor that differs most), `precision`
        (a run in a lower precision, by what rounding explains), `narrowing` (float64 that is rounded on the way)
    gradients: `slopes` (differences), `measured` (both, taken once for all checks), `mistakes` (what is wrong), `scaled` and
        `factors` (wrong by a factor), `elsewhere` (wrong for other sizes), `kinks`, `second_derivative`, `uses` (in other ways)
    looking into a module: `plain` (what plain attributes hold), `shared` (what all layers of a class have in common)
    shapes and devices: `sizes` (smaller ones), `sizes_tried` (others), `devices` (a second device, acted out without a GPU)

To add a check: see "Add a check" in CONTRIBUTING.md. In short, a class in a file of its own, listed in `registry`; it measures
on what `subject` gives out and answers with `passed`, `failed`, `noted` or `not_applicable`. It catches only what the layer may
raise, and raises again what `of_checker` says is its own. A cause is told only where it was verified, best by taking it away; a
fix is a sentence that says what to type, without the final stop.
"""
