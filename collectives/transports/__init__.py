"""Transports: how bytes travel, one file each.

A point-to-point transport has ``isend`` and ``irecv`` of NumPy storage, which return
requests with ``Test()``.  A group transport serves group calls of some kinds: ``kinds``
names them, ``start(call, data, dtype, op)`` begins one and returns a request.
"""
