"""Plans as they are run.

::

    plan       Plan: the compiled function, its printed form, its inputs and outputs
    cache      PlanCache: one plan for each structure, and how it is run
    leads      inputs with dimensions in front of the batch
    chunk      loops whose body is compiled some steps at a time
    compiled   torch.compile, of these and of the plan around them
    slabs      networks that left a loop, some rows at a time
    row_loop   functions of rows, some at a time
    recall     what networks returned in a try that was not finished
    compare    do two forms agree on data
"""
