"""What a user could pick instead of a trained network: two baselines that the segmenter drives like any network.

Both are `GuidedNetwork`s without trained parameters of their own, so that they play the same rounds, with the same
strokes, ranges and blending, as the networks that they are compared with.
"""
