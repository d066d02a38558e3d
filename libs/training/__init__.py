"""Training of guided interactive segmentation (train.py is the entry).

* `run`: from the options to the end, and what is printed.
* `recipe`, `recipes/`: what a run does, as plain values; stages with growing clips, sizes and rounds.
* `data`, `samples`: training sets by name, and the draw of one sample.
* `passes`: one pass = one clip, a simulated user (libs/simulated_user.py) and the real segmenter for a few rounds:
  annotate a frame, propagate both ways with the network's own masks, go to the worst frame (or the one of lowest
  R-score, or any), correct, again.  `damage` spoils neighbours' masks now and then; `practice` trains the interaction
  alone on further frames.
* `losses`: on every frame the mask; what was carried from other frames; reliability, predicted J and the order of the
  R-scores, all three supervised directly.
* `engine`, `state`, `parallel`, `board`: steps, averaged weights, exact resume, several processes, logs.
* `folder`, `interruption`: one run in a folder at a time, and how it is stopped.
* `setup`, `imagenet`: the network that a run begins with.
* `validation`: the segmenter on held-out clips, J&F per round; the area over rounds decides which weights are kept.

A pass depends on the weights and on (seed, number of the pass) alone, so a run that was killed goes on to the bit, and
any number of processes share one step's passes.  (Only a set of clips that grows during the run changes what is drawn.)
"""
