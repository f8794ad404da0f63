"""Exact identity as feed-forward keyed steps (`docs/identity.md`; `docs/semantics.md`, sections 3, 4, 6 and 7).

    Known ─► person (by id) ─┬─► Token, Pointer ─► depth (by id, twice) ─► Deep ─► chains (one key) ─► Label ─┐
                             └─► Member, Pointer ─► household (by id, three times) ◄──────────────────────────┘
                                                        └─► Member ─► contact (by label)

A stage is a function `step(key, state, inbox) -> (state, outbox)`. It sees only its own key's state, None at first, and
its inbox, whose order means nothing. State and outbox of a step commit together; everything else may be late,
reordered or repeated. Facts travel as they were sent: nothing is merged that could not be taken apart again.
"""
