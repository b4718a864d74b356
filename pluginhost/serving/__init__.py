"""Metrics over HTTP: who may ask, what is answered, and a server that slow clients cannot hold up.

`http` knows nothing of metrics, `guard` nothing of sockets; both need the extra `prometheus`.
"""
