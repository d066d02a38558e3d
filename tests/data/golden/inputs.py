"""Deterministic module-level inputs (numpy only).  Every array is drawn from default_rng(crc32(name)) in float64
and cast to float32 at the end."""

import zlib

import numpy as np


def rng(name):
    return np.random.default_rng(zlib.crc32(name.encode()))


def image(name, h=96, w=128, dx=0.0, dy=0.0):
    """[3,h,w] already-normalised smooth texture; same `name` with another (dx,dy) is a shifted view"""
    g = rng("image:" + name)
    y, x = np.mgrid[:h, :w].astype(np.float64)
    x, y = x + dx, y + dy
    out = np.zeros((3, h, w))
    for c in range(3):
        for _ in range(8):
            fx, fy = g.uniform(-0.08, 0.08, 2)
            out[c] += g.uniform(0.2, 0.8) * np.sin(2 * np.pi * (fx * x + fy * y) + g.uniform(0, 2 * np.pi))
    return out.astype(np.float32)


def blob(name, n, h=96, w=128):
    """[n,1,h,w] smooth probability-like maps in (0,1)"""
    g = rng("blob:" + name)
    y, x = np.mgrid[:h, :w].astype(np.float64)
    out = []
    for _ in range(n):
        cx, cy, s = g.uniform(0.2, 0.8) * w, g.uniform(0.2, 0.8) * h, g.uniform(0.1, 0.25) * h
        out.append(1 / (1 + np.exp(-(3 - ((x - cx) ** 2 + (y - cy) ** 2) / s**2))))
    return np.stack(out)[:, None].astype(np.float32)


def interaction(name, n, h=96, w=128):
    """[n,3,h,w]: previous mask (0/1), positive scribble, negative scribble (5 px wide bars, values in [0,1])"""
    g = rng("iact:" + name)
    out = np.zeros((n, 3, h, w))
    for k in range(n):
        out[k, 0] = blob(f"{name}:{k}", 1, h, w)[0, 0] > 0.5
        for c in (1, 2):
            y0, x0 = int(g.integers(8, h - 8)), int(g.integers(4, w // 2))
            out[k, c, y0 : y0 + 5, x0 : x0 + w // 3] = 1.0
            out[k, c, y0 + 1, x0 : x0 + w // 3] = 0.6
    return out.astype(np.float32)


def feat(name, shape, relu=False, mean=0.0, std=1.0):
    a = mean + std * rng("feat:" + name).standard_normal(shape)
    return (np.maximum(a, 0) if relu else a).astype(np.float32)


def r4(name, h=12, w=16, mix=0.0):
    """[1024,h,w] non-negative feature; r4(name, mix=m) = relu((1-m)*common + m*own)"""
    common = rng("r4:common").standard_normal((1024, h, w))
    own = rng("r4:" + name).standard_normal((1024, h, w))
    chan = rng("r4:chan").standard_normal((1024, 1, 1))
    return np.maximum(0.6 + 0.8 * chan + 0.9 * ((1 - mix) * common + mix * own), 0).astype(np.float32)
