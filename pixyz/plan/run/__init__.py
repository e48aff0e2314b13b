"""Plans as they are run.

::

    plan       Plan: what runs and its printed form; it does not change
    forms      its functions, each compiled when it is first asked for: with checks, with looks
    facts      what trials find out, and the trial that runs
    settle     the one loop that tries again, until what is found is what the plan was written for
    runner     a plan and the shapes that it has seen
    call       what was asked for: its plans, and what is kept of them
    collector  Python's, which waits while a plan is written
    cache      PlanCache: one plan for each structure, and how it is run
    probe      may a network leave its loop? tried on a few rows
    recall     what networks returned in a run that was not finished
    leads      inputs with dimensions in front of the batch
    chunk      loops whose body is compiled some steps at a time
    compiled   torch.compile, of these and of the plan around them
    slabs      networks that left a loop, some rows at a time
    row_loop   functions of rows, some at a time
    compare    do two forms agree on data
"""
