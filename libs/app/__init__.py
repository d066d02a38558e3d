"""The annotation app: a local web server that drives the segmenter.

Three layers, each of which can be tested alone: the *controller* (commands, undo, autosave; no HTTP), the *server*
(HTTP, security, one worker thread that owns the segmenter), and the *page* (`static/`, plain modules, no build step).
"""
