"""From a frame to named expressions: detect, crop, preprocess, classify, draw."""
