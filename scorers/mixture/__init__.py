"""Mixtures of groups: how much of each to train on, in quotas and orders, repeated honestly, and compared.

A *group* is what a mixture has shares of: a source, a language, a topic, a cluster. A *controller* finds the shares: a
state machine without a model, `next()` says what to train and what to measure, `observe()` takes the answer. Nothing
here imports Beam; what trains (`trainer`) imports torch when it is used.
"""
